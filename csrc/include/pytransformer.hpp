// pytransformer for C++17: the C interface (pytransformer.h) with values, exceptions and owners.
//
//   pytransformer::Translator translator("de-en.safetensors");
//   std::cout << translator.translate("Ein Hund läuft.");
//
// Everything here is compiled into the program that includes it: no C++ type crosses the border of
// the library, which may be built by another compiler. A translator may be used by several threads
// at once. docs/embedding.md says more.
#pragma once

#if __cplusplus < 201703L
#error "pytransformer.hpp needs C++17; pytransformer.h is for all of C and C++"
#endif

#include <cstddef>
#include <cstdint>
#include <exception>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "pytransformer.h"
#include "pytransformer_errors.hpp"

namespace pytransformer {

// -- Options and results --------------------------------------------------------------------------

// Zeros and null stand for the defaults; pytransformer.h says what each one means.
struct Settings : pytransformer_settings {
  Settings() : pytransformer_settings(PYTRANSFORMER_SETTINGS_INIT) {}
};

// Whatever is left alone is as the model says. What a pointer leads to must outlive the calls.
struct Options : pytransformer_options {
  Options() { pytransformer_options_init(this, sizeof(pytransformer_options)); }
};

struct Hypothesis {
  std::string text;                 // of a text
  std::vector<std::string> tokens;  // of tokens
  std::vector<std::int32_t> ids;
  float score = 0;  // with return_scores, or where a search needs it
  std::vector<float> log_probs;
  std::vector<float> attention;  // [ids, source] with return_attention
  pytransformer_finish_reason finish_reason = PYTRANSFORMER_FINISH_END;
};

using Hypotheses = std::vector<Hypothesis>;  // best first

// Pieces of text number `text`, or token number `step` of a sentence (-1 behind its last one), as
// soon as nothing can change them, on the thread that translates. An exception ends the call.
using TextCallback = std::function<void(std::size_t text, std::string_view piece)>;
using TokenCallback = std::function<void(std::size_t sentence, std::int32_t step,
                                         std::int32_t token, float log_prob)>;

namespace detail {

struct FreeResult {
  void operator()(pytransformer_result* result) const { pytransformer_result_free(result); }
};
struct Close {
  void operator()(pytransformer_translator* translator) const { pytransformer_close(translator); }
};
using Result = std::unique_ptr<pytransformer_result, FreeResult>;

inline pytransformer_text text(std::string_view view) { return {view.data(), view.size()}; }
inline std::string string(pytransformer_text text) { return {text.data, text.length}; }

inline Hypothesis read(const pytransformer_result* result, std::size_t sentence,
                       std::size_t index) {
  pytransformer_hypothesis from;
  pytransformer_hypothesis_init(&from, sizeof from);
  call([&](pytransformer_error* error) {
    return pytransformer_result_get(result, sentence, index, &from, error);
  });
  Hypothesis to;
  if (from.text.data != nullptr) to.text = string(from.text);
  for (std::size_t i = 0; i < from.tokens.count; ++i) {
    to.tokens.push_back(string(from.tokens.data[i]));
  }
  to.ids.assign(from.ids.data, from.ids.data + from.ids.count);
  to.score = from.score;
  to.log_probs.assign(from.log_probs, from.log_probs + from.num_log_probs);
  if (from.attention != nullptr) {
    to.attention.assign(from.attention, from.attention + from.ids.count * from.source_length);
  }
  to.finish_reason = static_cast<pytransformer_finish_reason>(from.finish_reason);
  return to;
}

inline std::vector<Hypotheses> read(const pytransformer_result* result) {
  std::vector<Hypotheses> all(pytransformer_result_count(result));
  for (std::size_t i = 0; i < all.size(); ++i) {
    const std::size_t count = pytransformer_result_hypotheses(result, i);
    for (std::size_t j = 0; j < count; ++j) all[i].push_back(read(result, i, j));
  }
  return all;
}

// A C++ callback behind a C one: what it throws must not pass through the library.
template <typename Callback>
class Caught {
 public:
  explicit Caught(const Callback& callback) : callback_(callback) {}

  template <typename... Arguments>
  int run(Arguments... arguments) noexcept {
    try {
      callback_(arguments...);
      return 0;
    } catch (...) {
      thrown_ = std::current_exception();
      return 1;
    }
  }

  void rethrow() const {
    if (thrown_) std::rethrow_exception(thrown_);
  }

 private:
  const Callback& callback_;
  std::exception_ptr thrown_;
};

inline int on_text(void* caught, std::size_t text, const char* piece, std::size_t length) {
  return static_cast<Caught<TextCallback>*>(caught)->run(text, std::string_view(piece, length));
}

inline int on_token(void* caught, std::size_t sentence, std::int32_t step, std::int32_t token,
                    float log_prob) {
  return static_cast<Caught<TokenCallback>*>(caught)->run(sentence, step, token, log_prob);
}

template <typename T>
std::vector<pytransformer_ids> spans(const T& sentences) {
  std::vector<pytransformer_ids> found;
  for (const auto& ids : sentences) found.push_back({ids.data(), ids.size()});
  return found;
}

// Views of tokens, as the C interface takes them.
class TokenSpans {
 public:
  explicit TokenSpans(const std::vector<std::vector<std::string>>& sentences) {
    for (const std::vector<std::string>& sentence : sentences) {
      texts_.emplace_back();
      for (const std::string& token : sentence) texts_.back().push_back(text(token));
    }
    for (const std::vector<pytransformer_text>& texts : texts_) {
      spans_.push_back({texts.data(), texts.size()});
    }
  }
  const pytransformer_tokens* data() const { return spans_.empty() ? nullptr : spans_.data(); }

 private:
  std::vector<std::vector<pytransformer_text>> texts_;
  std::vector<pytransformer_tokens> spans_;
};

inline void check_count(std::size_t sources, std::size_t prefixes) {
  if (prefixes == 0 || prefixes == sources) return;
  throw OptionError(PYTRANSFORMER_ERROR_OPTION, std::to_string(sources) + " sources and " +
                                                    std::to_string(prefixes) + " prefixes");
}

}  // namespace detail

// -- Translators ----------------------------------------------------------------------------------

class Translator {
 public:
  // Opens a native model file.
  explicit Translator(const std::string& path, const Settings& settings = {}) {
    pytransformer_translator* opened = nullptr;
    detail::call([&](pytransformer_error* error) {
      return pytransformer_open(path.c_str(), &settings, &opened, error);
    });
    translator_.reset(opened);
  }

  // The same from memory, which must outlive the translator.
  Translator(const void* image, std::size_t size, const Settings& settings = {}) {
    pytransformer_translator* opened = nullptr;
    detail::call([&](pytransformer_error* error) {
      return pytransformer_open_memory(image, size, &settings, &opened, error);
    });
    translator_.reset(opened);
  }

  pytransformer_info info() const {
    pytransformer_info found = PYTRANSFORMER_INFO_INIT;
    detail::call(
        [&](pytransformer_error* error) { return pytransformer_get_info(get(), &found, error); });
    return found;
  }

  // Languages that src_lang and tgt_lang may name.
  std::vector<std::string> source_languages() const {
    return languages(pytransformer_source_language);
  }
  std::vector<std::string> target_languages() const {
    return languages(pytransformer_target_language);
  }

  // The best translation of a text, line by line.
  std::string translate(std::string_view text, const Options& options = {},
                        const TextCallback& callback = {}) const {
    const detail::Result result = run_texts({&text, 1}, options, callback);
    return pytransformer_result_text(result.get(), 0);
  }

  // All hypotheses of each text.
  std::vector<Hypotheses> translate_texts(const std::vector<std::string_view>& texts,
                                          const Options& options = {},
                                          const TextCallback& callback = {}) const {
    return detail::read(run_texts({texts.data(), texts.size()}, options, callback).get());
  }

  // Sentences of tokens; `prefixes` are what each translation begins with, or none at all.
  std::vector<Hypotheses> translate_tokens(
      const std::vector<std::vector<std::string>>& sources, const Options& options = {},
      const std::vector<std::vector<std::string>>& prefixes = {},
      const TokenCallback& callback = {}) const {
    detail::check_count(sources.size(), prefixes.size());
    const detail::TokenSpans from(sources);
    const detail::TokenSpans begin(prefixes);
    return translate_by(options, callback, [&](auto* asked, auto* result, auto* error) {
      return pytransformer_translate_tokens(get(), from.data(), begin.data(), sources.size(), asked,
                                            result, error);
    });
  }

  // Sentences of ids, with their end tokens.
  std::vector<Hypotheses> translate_ids(const std::vector<std::vector<std::int32_t>>& sources,
                                        const Options& options = {},
                                        const std::vector<std::vector<std::int32_t>>& prefixes = {},
                                        const TokenCallback& callback = {}) const {
    detail::check_count(sources.size(), prefixes.size());
    const std::vector<pytransformer_ids> from = detail::spans(sources);
    const std::vector<pytransformer_ids> begin = detail::spans(prefixes);
    return translate_by(options, callback, [&](auto* asked, auto* result, auto* error) {
      return pytransformer_translate_ids(get(), from.data(), begin.empty() ? nullptr : begin.data(),
                                         from.size(), asked, result, error);
    });
  }

  // The ids of a line as the model reads them, the end token included.
  std::vector<std::int32_t> encode(std::string_view line, const std::string& src_lang = "",
                                   const std::string& tgt_lang = "") const {
    std::vector<std::int32_t> ids(line.size() + 8);
    for (std::size_t count = 0;;) {
      detail::call([&](pytransformer_error* error) {
        return pytransformer_encode(get(), detail::text(line), src_lang.c_str(), tgt_lang.c_str(),
                                    ids.data(), ids.size(), &count, error);
      });
      const bool fits = count <= ids.size();
      ids.resize(count);
      if (fits) return ids;
    }
  }

  // The text of a translation's ids.
  std::string decode(const std::vector<std::int32_t>& ids) const {
    std::string text(8 * ids.size() + 8, '\0');
    for (std::size_t length = 0;;) {
      detail::call([&](pytransformer_error* error) {
        return pytransformer_decode(get(), {ids.data(), ids.size()}, text.data(), text.size(),
                                    &length, error);
      });
      const bool fits = length <= text.size();
      text.resize(length);
      if (fits) return text;
    }
  }

  // For the C interface; stays the translator's.
  pytransformer_translator* get() const noexcept { return translator_.get(); }

 private:
  struct Texts {
    const std::string_view* data;
    std::size_t count;
  };

  template <typename F>
  std::vector<std::string> languages(const F& language) const {
    std::vector<std::string> found;
    for (std::size_t i = 0; const char* const name = language(get(), i); ++i) {
      found.emplace_back(name);
    }
    return found;
  }

  detail::Result run_texts(Texts texts, Options options, const TextCallback& callback) const {
    std::vector<pytransformer_text> from;
    for (std::size_t i = 0; i < texts.count; ++i) from.push_back(detail::text(texts.data[i]));
    detail::Caught<TextCallback> caught(callback);
    if (callback) {
      options.on_text = detail::on_text;
      options.context = &caught;
    }
    return run(caught, [&](pytransformer_result** result, pytransformer_error* error) {
      return pytransformer_translate_texts(get(), from.data(), from.size(), &options, result,
                                           error);
    });
  }

  template <typename F>
  std::vector<Hypotheses> translate_by(Options options, const TokenCallback& callback,
                                       const F& f) const {
    detail::Caught<TokenCallback> caught(callback);
    if (callback) {
      options.on_token = detail::on_token;
      options.context = &caught;
    }
    return detail::read(run(caught, [&](pytransformer_result** result, pytransformer_error* error) {
                          return f(&options, result, error);
                        }).get());
  }

  template <typename Callback, typename F>
  static detail::Result run(const detail::Caught<Callback>& caught, const F& f) {
    pytransformer_result* result = nullptr;
    pytransformer_error error = PYTRANSFORMER_ERROR_INIT;
    const pytransformer_status status = f(&result, &error);
    caught.rethrow();
    if (status != PYTRANSFORMER_OK) detail::raise(status, error.message);
    return detail::Result(result);
  }

  std::unique_ptr<pytransformer_translator, detail::Close> translator_;
};

}  // namespace pytransformer
