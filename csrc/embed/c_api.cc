// The C interface: arguments checked, exceptions made into statuses, nothing else.
#include <algorithm>
#include <cstring>
#include <memory>
#include <new>
#include <span>
#include <string>
#include <system_error>
#include <vector>

#include "embed/fault.h"
#include "embed/options.h"
#include "embed/result.h"
#include "embed/texts.h"
#include "embed/translator.h"
#include "pytransformer.h"
#include "simd/aligned.h"

using namespace pytransformer;
using embed::guarded;
using embed::require;
using embed::span_of;

struct pytransformer_translator {
  embed::Translator impl;
};

struct pytransformer_result {
  embed::Result impl;
};

namespace {

constexpr size_t kAlignment = 64;

// Runs f, which gives a Result, and hands that out.
template <typename F>
pytransformer_status translate(pytransformer_translator* translator, pytransformer_result** result,
                               pytransformer_error* error, const F& f) {
  return guarded(error, [&] {
    require(result != nullptr, "result is NULL");
    *result = nullptr;
    require(translator != nullptr, "translator is NULL");
    *result = new pytransformer_result{f(translator->impl)};
  });
}

// Runs f, which gives a native file, and opens that.
template <typename F>
pytransformer_status open(const pytransformer_settings* settings,
                          pytransformer_translator** translator, pytransformer_error* error,
                          const F& f) {
  return guarded(error, [&] {
    require(translator != nullptr, "translator is NULL");
    *translator = nullptr;
    *translator = new pytransformer_translator{embed::Translator(f(), settings)};
  });
}

std::shared_ptr<const io::NativeFile> from_memory(const void* image, size_t size) {
  require(image != nullptr, "image is NULL");
  const std::byte* bytes = span_of("image", static_cast<const std::byte*>(image), size).data();
  std::shared_ptr<const void> owner;
  if (reinterpret_cast<uintptr_t>(image) % kAlignment != 0) {
    auto copy = std::make_shared<simd::AlignedBuffer<std::byte>>(size);
    std::memcpy(copy->data(), image, size);
    bytes = copy->data();
    owner = std::move(copy);
  }
  return io::NativeFile::from_memory({bytes, size}, std::move(owner), "<memory>");
}

text::Languages languages(const char* source, const char* target) {
  return {source == nullptr ? "" : source, target == nullptr ? "" : target};
}

const char* language(const pytransformer_translator* translator, size_t index,
                     std::span<const std::string> (text::Tokenizer::*list)() const) {
  if (translator == nullptr) return nullptr;
  const text::Tokenizer* const tokenizer = translator->impl.model().find_tokenizer();
  if (tokenizer == nullptr) return nullptr;
  const std::span<const std::string> all = (tokenizer->*list)();
  return index < all.size() ? all[index].c_str() : nullptr;
}

const char* compute_type(kernels::ComputeType type) {
  switch (type) {
    case kernels::ComputeType::bfloat16:
      return "bfloat16";
    case kernels::ComputeType::int8:
      return "int8";
    case kernels::ComputeType::int4:
      return "int4";
    default:
      return "float32";
  }
}

pytransformer_info info_of(const embed::Translator& translator) {
  const embed::Model& model = translator.model();
  pytransformer_info info = PYTRANSFORMER_INFO_INIT;
  info.family = model.family().c_str();
  info.compute_type = compute_type(model.weights()->compute_type());
  info.isa = simd::name(translator.engine().isa()).data();
  info.num_parameters = model.weights()->num_parameters();
  info.source_vocab_size = model.spec().encoder.vocab_size;
  info.target_vocab_size = model.spec().decoder.vocab_size;
  info.max_source_length = translator.max_source_length();
  info.max_decoding_length = translator.max_decoding_length();
  info.inter_threads = translator.engine().inter_threads();
  info.intra_threads = translator.engine().intra_threads();
  info.translates_text = model.find_tokenizer() != nullptr;
  return info;
}

}  // namespace

const char* pytransformer_version(void) { return PYTRANSFORMER_VERSION; }

pytransformer_status pytransformer_open(const char* path, const pytransformer_settings* settings,
                                        pytransformer_translator** translator,
                                        pytransformer_error* error) {
  return open(settings, translator, error, [&] {
    require(path != nullptr, "path is NULL");
    try {
      return io::NativeFile::open(path);
    } catch (const std::system_error& e) {
      throw embed::Fault(PYTRANSFORMER_ERROR_FILE, e.what());
    }
  });
}

pytransformer_status pytransformer_open_memory(const void* image, size_t size,
                                               const pytransformer_settings* settings,
                                               pytransformer_translator** translator,
                                               pytransformer_error* error) {
  return open(settings, translator, error, [&] { return from_memory(image, size); });
}

void pytransformer_close(pytransformer_translator* translator) { delete translator; }

pytransformer_status pytransformer_get_info(const pytransformer_translator* translator,
                                            pytransformer_info* info, pytransformer_error* error) {
  return guarded(error, [&] {
    require(translator != nullptr && info != nullptr, "translator or info is NULL");
    require(info->size >= sizeof(size_t) && info->size <= sizeof(pytransformer_info),
            "info->size is wrong: begin with PYTRANSFORMER_INFO_INIT");
    pytransformer_info found = info_of(translator->impl);
    found.size = info->size;
    std::memcpy(info, &found, info->size);
  });
}

const char* pytransformer_source_language(const pytransformer_translator* translator,
                                          size_t index) {
  return language(translator, index, &text::Tokenizer::source_languages);
}

const char* pytransformer_target_language(const pytransformer_translator* translator,
                                          size_t index) {
  return language(translator, index, &text::Tokenizer::target_languages);
}

void pytransformer_options_init(pytransformer_options* options, size_t size) {
  if (options == nullptr) return;
  // What a newer header has more is unknown here, and zero.
  std::memset(options, 0, size);
  const pytransformer_options unset = embed::unset_options();
  std::memcpy(options, &unset, std::min(size, sizeof unset));
  options->size = size;
}

pytransformer_status pytransformer_translate_texts(pytransformer_translator* translator,
                                                   const pytransformer_text* texts, size_t count,
                                                   const pytransformer_options* options,
                                                   pytransformer_result** result,
                                                   pytransformer_error* error) {
  return translate(translator, result, error, [&](embed::Translator& impl) {
    std::vector<std::string_view> views;
    for (const pytransformer_text& text : span_of("texts", texts, count)) {
      views.push_back(embed::view(text));
    }
    return embed::translate_texts(impl, views, embed::read_options(options, impl.model()));
  });
}

pytransformer_status pytransformer_translate_tokens(
    pytransformer_translator* translator, const pytransformer_tokens* sources,
    const pytransformer_tokens* prefixes, size_t count, const pytransformer_options* options,
    pytransformer_result** result, pytransformer_error* error) {
  return translate(translator, result, error, [&](embed::Translator& impl) {
    return impl.translate_tokens(span_of("sources", sources, count), prefixes, options);
  });
}

pytransformer_status pytransformer_translate_ids(pytransformer_translator* translator,
                                                 const pytransformer_ids* sources,
                                                 const pytransformer_ids* prefixes, size_t count,
                                                 const pytransformer_options* options,
                                                 pytransformer_result** result,
                                                 pytransformer_error* error) {
  return translate(translator, result, error, [&](embed::Translator& impl) {
    return impl.translate_ids(span_of("sources", sources, count), prefixes, options);
  });
}

void pytransformer_hypothesis_init(pytransformer_hypothesis* hypothesis, size_t size) {
  if (hypothesis == nullptr) return;
  std::memset(hypothesis, 0, size);
  hypothesis->size = size;
}

size_t pytransformer_result_count(const pytransformer_result* result) {
  return result == nullptr ? 0 : result->impl.size();
}

size_t pytransformer_result_hypotheses(const pytransformer_result* result, size_t sentence) {
  return sentence < pytransformer_result_count(result) ? result->impl[sentence].size() : 0;
}

pytransformer_status pytransformer_result_get(const pytransformer_result* result, size_t sentence,
                                              size_t hypothesis, pytransformer_hypothesis* found,
                                              pytransformer_error* error) {
  return guarded(error, [&] {
    require(result != nullptr && found != nullptr, "result or found is NULL");
    embed::get(result->impl, sentence, hypothesis, *found);
  });
}

const char* pytransformer_result_text(const pytransformer_result* result, size_t text) {
  if (pytransformer_result_hypotheses(result, text) == 0) return nullptr;
  const embed::Hypothesis& best = result->impl[text].front();
  return best.has_text ? best.text.c_str() : nullptr;
}

void pytransformer_result_free(pytransformer_result* result) { delete result; }

pytransformer_status pytransformer_encode(const pytransformer_translator* translator,
                                          pytransformer_text line, const char* src_lang,
                                          const char* tgt_lang, int32_t* ids, size_t capacity,
                                          size_t* count, pytransformer_error* error) {
  return guarded(error, [&] {
    require(translator != nullptr && count != nullptr, "translator or count is NULL");
    require(ids != nullptr || capacity == 0, "ids are NULL, but their capacity is not 0");
    const embed::Ids found = translator->impl.model().tokenizer().encode_ids(
        embed::view(line), languages(src_lang, tgt_lang));
    std::copy_n(found.begin(), std::min(capacity, found.size()), ids);
    *count = found.size();
  });
}

pytransformer_status pytransformer_decode(const pytransformer_translator* translator,
                                          pytransformer_ids ids, char* text, size_t capacity,
                                          size_t* length, pytransformer_error* error) {
  return guarded(error, [&] {
    require(translator != nullptr && length != nullptr, "translator or length is NULL");
    require(text != nullptr || capacity == 0, "text is NULL, but its capacity is not 0");
    const std::string found = translator->impl.model().tokenizer().decode(embed::ids_of(ids));
    // With its NUL, if there is room.
    std::copy_n(found.c_str(), std::min(capacity, found.size() + 1), text);
    *length = found.size();
  });
}
