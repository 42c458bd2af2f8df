// The engine from inside, and by its doors in C and C++: the same sentence again and again, each
// call timed. bench/doors.py loads this.
#include <time.h>

#include <chrono>
#include <cstdint>
#include <cstdlib>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "decode/engine.h"
#include "embed/model.h"
#include "pytransformer.hpp"
#include "simd/isa.h"

using namespace pytransformer;

namespace {

using Ids = std::vector<int32_t>;

// Every translation is `length` tokens long.
decode::SearchOptions search_of(const embed::Model& model, int32_t length) {
  decode::SearchOptions search = model.defaults();
  search.beam_size = 1;
  search.min_decoding_length = search.max_decoding_length = length;
  return search;
}

Options options_of(const std::string& language, int32_t length) {
  Options options;
  options.beam_size = 1;
  options.min_decoding_length = options.max_decoding_length = length;
  options.tgt_lang = language.c_str();
  return options;
}

Settings one_thread() {
  Settings settings;
  settings.intra_threads = 1;
  return settings;
}

// One model opened from inside and by the public interface, and one sentence.
struct Subject {
  Subject(const char* path, std::string sentence, std::string target, int32_t length)
      : model(io::NativeFile::open(path)),
        engine(model.weights(), 1, 1, simd::active_isa()),
        search(search_of(model, length)),
        translator(path, one_thread()),
        text(std::move(sentence)),
        language(std::move(target)),
        ids(model.tokenizer().encode_ids(text, {"", language})),
        options(options_of(language, length)) {}

  embed::Model model;
  decode::Engine engine;
  decode::SearchOptions search;
  Translator translator;
  std::string text;
  std::string language;
  Ids ids;
  Options options;
};

void check(bool holds) {
  if (!holds) std::abort();
}

Ids by_engine(Subject& subject, Ids source) {
  std::vector<decode::Request> requests(1);
  requests.front().source = std::move(source);
  const std::shared_ptr<decode::Job> job =
      subject.engine.submit(std::move(requests), subject.search);
  while (!job->wait(std::chrono::hours(1))) {
  }
  return std::move(job->take_result().front().front().ids);
}

void ids_by_engine(Subject& subject) { check(!by_engine(subject, subject.ids).empty()); }

void text_by_engine(Subject& subject) {
  const text::Tokenizer& tokenizer = subject.model.tokenizer();
  Ids source = tokenizer.encode_ids(subject.text, {"", subject.language});
  tokenizer.decode(by_engine(subject, std::move(source)));
}

void tokenizer_alone(Subject& subject) {
  const text::Tokenizer& tokenizer = subject.model.tokenizer();
  tokenizer.decode(tokenizer.encode_ids(subject.text, {"", subject.language}));
}

void ids_by_c(Subject& subject) {
  const pytransformer_ids source = {subject.ids.data(), subject.ids.size()};
  pytransformer_error error = PYTRANSFORMER_ERROR_INIT;
  pytransformer_result* result = nullptr;
  pytransformer_hypothesis best;
  pytransformer_hypothesis_init(&best, sizeof best);
  pytransformer_translate_ids(subject.translator.get(), &source, nullptr, 1, &subject.options,
                              &result, &error);
  pytransformer_result_get(result, 0, 0, &best, &error);
  check(best.ids.count > 0);
  pytransformer_result_free(result);
}

void text_by_c(Subject& subject) {
  const pytransformer_text source = {subject.text.data(), subject.text.size()};
  pytransformer_error error = PYTRANSFORMER_ERROR_INIT;
  pytransformer_result* result = nullptr;
  pytransformer_translate_texts(subject.translator.get(), &source, 1, &subject.options, &result,
                                &error);
  check(pytransformer_result_text(result, 0) != nullptr);
  pytransformer_result_free(result);
}

void ids_by_cpp(Subject& subject) {
  check(!subject.translator.translate_ids({subject.ids}, subject.options)[0][0].ids.empty());
}

void text_by_cpp(Subject& subject) { subject.translator.translate(subject.text, subject.options); }

constexpr std::pair<std::string_view, void (*)(Subject&)> kDoors[] = {
    {"engine ids", ids_by_engine},  {"engine text", text_by_engine}, {"C ids", ids_by_c},
    {"C text", text_by_c},          {"C++ ids", ids_by_cpp},         {"C++ text", text_by_cpp},
    {"tokenizer", tokenizer_alone},
};

int64_t now(clockid_t clock) {
  timespec time;
  clock_gettime(clock, &time);
  return int64_t{time.tv_sec} * 1'000'000'000 + time.tv_nsec;
}

}  // namespace

#define EXPORT extern "C" __attribute__((visibility("default")))

EXPORT void* doors_open(const char* path, const char* text, const char* language, int32_t length) {
  return new Subject(path, text, language, length);
}

EXPORT void doors_close(void* subject) { delete static_cast<Subject*>(subject); }

// Makes `count` calls and writes how long each took; returns what they took of this thread's own
// processor time. All in nanoseconds.
EXPORT int64_t doors_run(void* subject, const char* name, int64_t* times, int64_t count) {
  for (const auto& [door, call] : kDoors) {
    if (door != name) continue;
    const int64_t begin = now(CLOCK_THREAD_CPUTIME_ID);
    for (int64_t i = 0; i < count; ++i) {
      const int64_t start = now(CLOCK_MONOTONIC);
      call(*static_cast<Subject*>(subject));
      times[i] = now(CLOCK_MONOTONIC) - start;
    }
    return now(CLOCK_THREAD_CPUTIME_ID) - begin;
  }
  return -1;
}
