#include "embed/translator.h"

#include <algorithm>
#include <chrono>
#include <cstddef>
#include <cstring>
#include <random>
#include <string>
#include <utility>

#include "embed/fault.h"
#include "simd/threads.h"

namespace pytransformer::embed {
namespace {

using decode::Job;

constexpr int32_t kMostThreads = 1024;

struct Settings {
  int inter_threads;
  int intra_threads;
  simd::Isa isa;
  int64_t max_memory;
};

void check_threads(const char* name, int32_t count) {
  if (count >= 0 && count <= kMostThreads) return;
  throw Fault(PYTRANSFORMER_ERROR_OPTION, std::string(name) + " is " + std::to_string(count) +
                                              ", expected 0 to " + std::to_string(kMostThreads));
}

Settings read_settings(const pytransformer_settings* given) {
  pytransformer_settings all = PYTRANSFORMER_SETTINGS_INIT;
  if (given != nullptr) {
    require(given->size >= offsetof(pytransformer_settings, isa) && given->size <= sizeof all,
            "settings->size is wrong: begin with PYTRANSFORMER_SETTINGS_INIT");
    std::memcpy(&all, given, given->size);
  }
  check_threads("inter_threads", all.inter_threads);
  check_threads("intra_threads", all.intra_threads);
  const int workers = std::max(1, all.inter_threads);
  const int shared = std::max(1, simd::available_threads() / workers);
  return {workers, all.intra_threads == 0 ? shared : all.intra_threads,
          all.isa == nullptr ? simd::active_isa() : simd::parse_isa(all.isa),
          static_cast<int64_t>(std::min<uint64_t>(all.max_memory, INT64_MAX))};
}

// Far from the end of what a clock can count.
constexpr std::chrono::milliseconds kLong = std::chrono::hours(1);

void tell(Job& job, const std::vector<decode::TokenEvent>& events, const std::vector<size_t>& names,
          const Translator::Listener& listener) {
  for (decode::TokenEvent event : events) {
    event.sentence = names[event.sentence];
    if (listener(event)) continue;
    job.cancel();
    throw decode::Cancelled();
  }
}

// Waits for the end of a job, and tells of what is certain before; `names`: the index of each of
// its sentences.
void wait(Job& job, const std::vector<size_t>& names, const Translator::Listener& listener) {
  if (!listener) {
    while (!job.wait(kLong)) {
    }
    return;
  }
  while (!job.done()) tell(job, job.wait_for_events(kLong), names, listener);
  tell(job, job.wait_for_events(std::chrono::milliseconds(0)), names, listener);
}

std::vector<std::string_view> views(pytransformer_tokens tokens) {
  std::vector<std::string_view> found;
  for (const pytransformer_text& token : span_of("tokens", tokens.data, tokens.count)) {
    found.push_back(view(token));
  }
  return found;
}

Translator::Listener token_listener(const Decoding& decoding) {
  if (decoding.on_token == nullptr) return {};
  return [&decoding](const decode::TokenEvent& event) {
    return decoding.on_token(decoding.context, event.sentence, event.step, event.token,
                             event.log_prob) == 0;
  };
}

Result to_result(std::vector<decode::Translation> translations, const text::Tokenizer* tokenizer) {
  Result result;
  for (decode::Translation& translation : translations) {
    result.emplace_back();
    for (decode::Hypothesis& found : translation) {
      Hypothesis& hypothesis = result.back().emplace_back();
      hypothesis.found = std::move(found);
      if (tokenizer == nullptr) continue;
      for (const int32_t id : hypothesis.found.ids) {
        hypothesis.tokens.push_back(tokenizer->target_token(id));
      }
      for (const std::string& token : hypothesis.tokens) {
        hypothesis.token_views.push_back({token.data(), token.size()});
      }
    }
  }
  return result;
}

}  // namespace

Translator::Translator(std::shared_ptr<const io::NativeFile> file,
                       const pytransformer_settings* settings)
    : model_(std::move(file)), engine_([&] {
        const Settings read = read_settings(settings);
        return decode::Engine(model_.weights(), read.inter_threads, read.intra_threads, read.isa,
                              read.max_memory);
      }()) {}

int64_t Translator::max_source_length() const {
  const nn::PositionSpec& positions = model_.spec().encoder.positions;
  return positions.kind == nn::PositionKind::none ? 0 : positions.max_length;
}

int64_t Translator::max_decoding_length() const {
  const nn::PositionSpec& positions = model_.spec().decoder.positions;
  // The start token takes the first position; the end token is never fed back.
  return positions.kind == nn::PositionKind::none ? 0 : positions.max_length - 1;
}

Result Translator::translate_tokens(std::span<const pytransformer_tokens> sources,
                                    const pytransformer_tokens* prefixes,
                                    const pytransformer_options* options) {
  const Decoding decoding = read_options(options, model_);
  const text::Tokenizer& tokenizer = model_.tokenizer();
  std::vector<Sentence> sentences;
  for (size_t i = 0; i < sources.size(); ++i) {
    Ids prefix;
    if (prefixes != nullptr) prefix = tokenizer.target_ids(views(prefixes[i]));
    sentences.push_back({tokenizer.source_ids(views(sources[i])), std::move(prefix), i});
  }
  return to_result(
      run(std::move(sentences), tokenizer.source_ids({}), decoding, token_listener(decoding)),
      &tokenizer);
}

Result Translator::translate_ids(std::span<const pytransformer_ids> sources,
                                 const pytransformer_ids* prefixes,
                                 const pytransformer_options* options) {
  const Decoding decoding = read_options(options, model_);
  std::vector<Sentence> sentences;
  for (size_t i = 0; i < sources.size(); ++i) {
    Ids prefix;
    if (prefixes != nullptr) prefix = ids_of(prefixes[i]);
    sentences.push_back({ids_of(sources[i]), std::move(prefix), i});
  }
  return to_result(run(std::move(sentences), {model_.defaults().end_token_ids.front()}, decoding,
                       token_listener(decoding)),
                   nullptr);
}

std::vector<decode::Translation> Translator::run(std::vector<Sentence> sentences,
                                                 const Ids& nothing, const Decoding& decoding,
                                                 const Listener& listener) {
  std::vector<decode::Request> requests;
  std::vector<size_t> names;  // the sentences of the requests
  for (size_t i = 0; i < sentences.size(); ++i) {
    fit(sentences[i], decoding);
    if (sentences[i].source == nothing) continue;
    requests.push_back(request(sentences[i], decoding));
    names.push_back(i);
  }
  decode::SearchOptions search = decoding.search;
  search.stream = static_cast<bool>(listener);
  // Submitted even if there is nothing to do: the options are checked.
  const std::shared_ptr<Job> job = engine_.submit(std::move(requests), std::move(search));
  wait(*job, names, listener);
  std::vector<decode::Translation> found = job->take_result();
  std::vector<decode::Translation> all(
      sentences.size(), decode::Translation(static_cast<size_t>(decoding.search.num_hypotheses)));
  for (size_t i = 0; i < names.size(); ++i) all[names[i]] = std::move(found[i]);
  return all;
}

void Translator::fit(Sentence& sentence, const Decoding& decoding) const {
  Ids& ids = sentence.source;
  const auto length = static_cast<size_t>(decoding.max_input_length);
  if (length > 0) {
    const Ids closing = model_.tokenizer().closing(ids);
    if (ids.size() > length + closing.size()) {
      ids.resize(length);
      ids.insert(ids.end(), closing.begin(), closing.end());
    }
  }
  const int64_t limit = max_source_length();
  if (limit > 0 && static_cast<int64_t>(ids.size()) > limit) {
    throw Fault(PYTRANSFORMER_ERROR_INPUT_LENGTH,
                "input " + std::to_string(sentence.owner) + " has " + std::to_string(ids.size()) +
                    " tokens, but this model's positions reach " + std::to_string(limit) +
                    " (end token included); split it, or set max_input_length to cut it");
  }
}

decode::Request Translator::request(Sentence& sentence, const Decoding& decoding) const {
  decode::Request request;
  request.source = std::move(sentence.source);
  request.target = std::move(sentence.prefix);
  request.force_phrases = decoding.force_phrases;
  request.allowed = decoding.allowed;
  if (decoding.seed) {
    request.seed = *decoding.seed;
  } else if (decoding.search.samples()) {
    std::random_device device;
    request.seed = (uint64_t{device()} << 32) | device();
  }
  return request;
}

}  // namespace pytransformer::embed
