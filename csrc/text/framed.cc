// Tokenizers that put special tokens around a text, among them those of its languages.
//
// An embedding without a token, which some models have, is the token `<unused_ID>`, which makes no
// text.
#include <algorithm>
#include <utility>

#include "text/errors.h"
#include "text/kinds.h"
#include "text/languages.h"
#include "text/pieces.h"
#include "text/settings.h"
#include "text/unicode.h"

namespace pytransformer::text {
namespace {

// Places in a frame; what else stands before and behind the text is named by tokens.
constexpr std::string_view kText = "$text", kSource = "$source", kTarget = "$target";

bool holds(std::span<const std::string> tokens, std::string_view token) {
  return std::ranges::find(tokens, token) != tokens.end();
}

// The tokens around a text, with places for those of its languages.
struct Frame {
  std::vector<std::string> before, behind;
};

Frame read_frame(const io::Json& settings) {
  std::vector<std::string> all = strings(settings, "frame");
  const auto place = std::ranges::find(all, kText);
  if (place == all.end()) throw io::JsonError("frame has no place for the text");
  return {{all.begin(), place}, {place + 1, all.end()}};
}

using Tokens = std::map<std::string, std::string, std::less<>>;

Tokens read_language_tokens(const io::Json& settings) {
  constexpr std::string_view kName = "language_tokens";
  Tokens tokens;
  for (const auto& [code, token] : settings.at(kName).as_object(kName)) {
    tokens.emplace(code, token.as_string(kName));
  }
  return tokens;
}

class FramedTokenizer : public Tokenizer {
 public:
  FramedTokenizer(const io::Json& settings, std::unique_ptr<const Pieces> pieces)
      : pieces_(std::move(pieces)),
        frame_(read_frame(settings)),
        end_(string(settings, "end_token")),
        source_size_(id(settings, "source_size")),
        target_size_(id(settings, "target_size")),
        tokens_(read_language_tokens(settings)),
        sources_(strings(settings, "source_languages")),
        targets_(strings(settings, "target_languages")),
        default_source_(nullable_string(settings, "source_language")),
        default_target_(nullable_string(settings, "target_language")),
        target_by_(nullable_string(settings, "target_by").value_or("")),
        needs_target_(flag(settings, "needs_target")) {
    check_languages();
    for (const auto& [code, token] : tokens_) language_ids_.push_back(pieces_->id_of(token));
    std::ranges::sort(language_ids_);
  }

  std::vector<int32_t> encode_ids(std::string_view text, const Languages& given) const override {
    check_text(text);
    const auto [before, behind] = frame_ids(given);
    std::vector<int32_t> ids = before;
    const std::vector<int32_t> cut = pieces_->cut_ids(text);
    ids.insert(ids.end(), cut.begin(), cut.end());
    ids.insert(ids.end(), behind.begin(), behind.end());
    return ids;
  }

  std::vector<int32_t> encode_target_ids(std::string_view text) const override {
    check_text(text);
    return pieces_->cut_names(text);
  }

  std::vector<int32_t> source_ids(std::span<const std::string_view> tokens) const override {
    std::vector<int32_t> ids = target_ids(tokens);
    const std::vector<int32_t> end = closing(ids);
    const bool closed =
        ids.size() >= end.size() && std::equal(end.rbegin(), end.rend(), ids.rbegin());
    if (!closed) ids.insert(ids.end(), end.begin(), end.end());
    return ids;
  }

  std::vector<int32_t> target_ids(std::span<const std::string_view> tokens) const override {
    std::vector<int32_t> ids;
    for (const std::string_view token : tokens) ids.push_back(pieces_->id_of(token));
    return ids;
  }

  std::string source_token(int32_t id) const override { return named_token(id, source_size_); }
  std::string target_token(int32_t id) const override { return named_token(id, target_size_); }

  std::string decode(std::span<const int32_t> ids) const override {
    for (const int32_t id : ids) check_id(id, target_size_);
    return pieces_->text(ids);
  }

  std::vector<int32_t> closing(std::span<const int32_t> ids) const override {
    // Where the source's language is named behind the end token, they depend on the source.
    if (holds(frame_.behind, kSource)) {
      const size_t count = ids.size();
      if (count >= 2 && ids[count - 2] == pieces_->id_of(end_) &&
          std::ranges::binary_search(language_ids_, ids[count - 1])) {
        return {ids[count - 2], ids[count - 1]};
      }
      return frame_ids({}).second;
    }
    std::vector<int32_t> behind;
    for (const std::string& token : frame_.behind) behind.push_back(pieces_->id_of(token));
    return behind;
  }

  std::optional<int32_t> forced_bos_id(std::string_view language) const override {
    return target_id(language, "first_token");
  }
  std::optional<int32_t> decoder_start_id(std::string_view language) const override {
    return target_id(language, "start_token");
  }
  std::optional<int32_t> unknown_id() const override { return pieces_->unknown_id(); }
  std::span<const std::string> source_languages() const override { return sources_.codes(); }
  std::span<const std::string> target_languages() const override { return targets_.codes(); }

 private:
  // Throws for a language whose token will be needed, and that has none.
  void check_languages() const {
    const bool named_by_token = holds(frame_.before, kTarget) || holds(frame_.behind, kTarget) ||
                                target_by_ == "first_token" || target_by_ == "start_token";
    if (named_by_token) check_tokens(targets_.codes(), default_target_);
    if (holds(frame_.before, kSource) || holds(frame_.behind, kSource)) {
      check_tokens(sources_.codes(), default_source_);
    }
  }

  void check_tokens(std::span<const std::string> codes,
                    const std::optional<std::string>& default_code) const {
    const auto lacks = [&](const std::string& code) { return !tokens_.contains(code); };
    if (std::ranges::any_of(codes, lacks) || (default_code && lacks(*default_code))) {
      throw io::JsonError("'language_tokens' lacks languages");
    }
  }

  std::optional<int32_t> target_id(std::string_view language, std::string_view by) const {
    if (target_by_ != by) return std::nullopt;
    const std::optional<std::string> code = target_code(language);
    if (!code) return std::nullopt;
    return pieces_->id_of(tokens_.find(*code)->second);
  }

  std::optional<std::string> target_code(std::string_view language) const {
    if (!language.empty()) return targets_.resolve("tgt_lang", language);
    if (!default_target_ && needs_target_) missing("tgt_lang", "translates into", targets_);
    return default_target_;
  }

  // The ids before and behind a text.
  std::pair<std::vector<int32_t>, std::vector<int32_t>> frame_ids(const Languages& given) const {
    std::optional<std::string> source = default_source_, target;
    if (!given.source.empty()) source = sources_.resolve("src_lang", given.source);
    if (!given.target.empty() || target_by_ == "source") target = target_code(given.target);
    return {placed(frame_.before, source, target), placed(frame_.behind, source, target)};
  }

  std::vector<int32_t> placed(std::span<const std::string> tokens,
                              const std::optional<std::string>& source,
                              const std::optional<std::string>& target) const {
    std::vector<int32_t> ids;
    for (const std::string& token : tokens) {
      if (token != kSource && token != kTarget) {
        ids.push_back(pieces_->id_of(token));
        continue;
      }
      const std::optional<std::string>& language = token == kSource ? source : target;
      if (!language) missing("src_lang", "translates from", sources_);
      ids.push_back(pieces_->id_of(tokens_.find(*language)->second));
    }
    return ids;
  }

  [[noreturn]] static void missing(const std::string& option, const std::string& does,
                                   const LanguageSet& languages) {
    throw OptionError(option + " is missing: this model " + does + " " +
                      std::to_string(languages.codes().size()) +
                      " languages; name one by the model's code, its ISO code or in English (" +
                      languages.some() + ")");
  }

  std::string named_token(int32_t id, int32_t size) const {
    check_id(id, size);
    const std::optional<std::string_view> token = pieces_->token_of(id);
    if (token && !token->empty()) return std::string(*token);
    return "<unused_" + std::to_string(id) + ">";
  }

  static void check_id(int32_t id, int32_t size) {
    if (id < 0 || id >= size) throw OptionError("no token has the id " + std::to_string(id));
  }

  std::unique_ptr<const Pieces> pieces_;  // of both sides
  Frame frame_;
  std::string end_;
  int32_t source_size_, target_size_;
  Tokens tokens_;  // of languages, by code
  LanguageSet sources_, targets_;
  std::optional<std::string> default_source_, default_target_;
  std::string target_by_;
  bool needs_target_;
  std::vector<int32_t> language_ids_;  // sorted
};

}  // namespace

std::unique_ptr<const Tokenizer> create_m2m100(const io::Json& settings, const Files& files) {
  return std::make_unique<const FramedTokenizer>(settings, m2m100_pieces(settings, files));
}

std::unique_ptr<const Tokenizer> create_metaspace(const io::Json& settings, const Files& files) {
  return std::make_unique<const FramedTokenizer>(settings, metaspace_pieces(settings, files));
}

}  // namespace pytransformer::text
