// The tokenizer of Marian's own models.
//
// Each side has a sentencepiece model, whose ids are the model's; or a list of tokens, which stand
// in the text between blanks; or both, as in OPUS-MT: the pieces of the one are looked up in the
// other, and `>>xx<<` at the start of a text is a token by itself, which names the target language.
#include <algorithm>
#include <utility>

#include "text/errors.h"
#include "text/kinds.h"
#include "text/sentencepiece.h"
#include "text/settings.h"
#include "text/unicode.h"
#include "text/vocabulary.h"

namespace pytransformer::text {
namespace {

// The language that a text names in front, as in `>>xx<<`; empty if it names none.
std::string_view named_in_front(std::string_view text) {
  if (!text.starts_with(">>")) return {};
  text.remove_prefix(2);
  const std::string_view language = text.substr(0, text.find_first_of("<>"));
  const bool ends = text.substr(language.size()).starts_with("<<");
  const bool has_space = find_space(language, 0, Spaces::python) != language.size();
  return ends && !has_space ? language : std::string_view();
}

std::string marked(std::string_view language) { return ">>" + std::string(language) + "<<"; }

// The names of a side's files, empty where there is none, and ids that they do not tell.
struct SideSettings {
  std::string pieces, tokens;
  int32_t end = 0, unknown = 0;

  explicit SideSettings(const io::Json& settings)
      : pieces(nullable_string(settings, "pieces").value_or("")),
        tokens(nullable_string(settings, "tokens").value_or("")) {
    if (tokens.empty()) {
      if (pieces.empty()) throw io::JsonError("neither pieces nor tokens");
      return;
    }
    end = id(settings, "end");
    unknown = id(settings, "unknown");
  }

  bool operator==(const SideSettings&) const = default;
};

Vocabulary pieces_of(const SentencePiece& pieces) {
  TokenList tokens;
  for (int32_t id = 0; id < pieces.size(); ++id) tokens.add(pieces.piece(id));
  return Vocabulary(std::move(tokens));
}

// The vocabulary of one side.
class Side {
 public:
  Side(const SideSettings& settings, const Files& files)
      : pieces_(settings.pieces.empty()
                    ? nullptr
                    : open_sentencepiece(file(files, settings.pieces), settings.pieces)),
        has_own_ids_(!settings.tokens.empty()),
        vocabulary_(has_own_ids_
                        ? Vocabulary(read_tokens(file(files, settings.tokens), settings.tokens))
                        : pieces_of(*pieces_)),
        end_(has_own_ids_ ? settings.end : pieces_->end_id()),
        unknown_(has_own_ids_ ? settings.unknown : pieces_->unknown_id()) {
    const std::string& name = has_own_ids_ ? settings.tokens : settings.pieces;
    check_special(name, "end", end_);
    check_special(name, "unknown", unknown_);
  }

  int32_t end() const { return end_; }
  int32_t unknown() const { return unknown_; }

  // Sorted.
  std::vector<std::string> languages() const {
    std::vector<std::string> found;
    for (size_t id = 0; id < vocabulary_.size(); ++id) {
      const std::string_view token = vocabulary_.token(static_cast<int64_t>(id)).value_or("");
      const std::string_view language = named_in_front(token);
      if (language.empty() || token.size() != language.size() + 4) continue;
      found.emplace_back(language);
    }
    std::ranges::sort(found);
    found.erase(std::unique(found.begin(), found.end()), found.end());
    return found;
  }

  std::vector<int32_t> cut(std::string_view text) const {
    std::vector<int32_t> ids;
    if (pieces_ == nullptr) {
      for (size_t begin = 0; begin < text.size();) {
        const size_t end = std::min(text.find(' ', begin), text.size());
        if (end > begin) ids.push_back(id(text.substr(begin, end - begin)));
        begin = end + 1;
      }
      return ids;
    }
    const std::string_view language = has_own_ids_ ? named_in_front(text) : std::string_view();
    if (!language.empty()) {
      ids.push_back(id(text.substr(0, language.size() + 4)));
      text.remove_prefix(language.size() + 4);
    }
    pieces_->cut(text, [&](std::string_view piece, int32_t) { ids.push_back(id(piece)); });
    return ids;
  }

  std::string join(std::span<const std::string_view> tokens) const {
    if (pieces_ != nullptr) return pieces_->join(tokens);
    std::string text;
    for (size_t i = 0; i < tokens.size(); ++i) text.append(i == 0 ? "" : " ").append(tokens[i]);
    return text;
  }

  int32_t id(std::string_view token) const { return vocabulary_.find(token).value_or(unknown_); }

  std::string_view token(int32_t id) const {
    if (const auto found = vocabulary_.token(id)) return *found;
    throw OptionError("no token has the id " + std::to_string(id));
  }

 private:
  void check_special(const std::string& name, const std::string& which, int32_t id) const {
    if (id >= 0 && static_cast<size_t>(id) < vocabulary_.size()) return;
    throw CheckpointError(name + ": has no " + which + " token");
  }

  std::unique_ptr<const SentencePiece> pieces_;
  bool has_own_ids_;
  Vocabulary vocabulary_;
  int32_t end_, unknown_;
};

class MarianVocabularyTokenizer : public Tokenizer {
 public:
  MarianVocabularyTokenizer(const SideSettings& source, const SideSettings& target,
                            const Files& files)
      : source_(std::make_shared<const Side>(source, files)),
        target_(source == target ? source_ : std::make_shared<const Side>(target, files)),
        languages_(source_->languages()) {}

  std::vector<int32_t> encode_ids(std::string_view text, const Languages& given) const override {
    check_text(text);
    std::vector<int32_t> ids = source_->cut(with_language(text, given.target));
    ids.push_back(source_->end());
    return ids;
  }

  std::vector<int32_t> encode_target_ids(std::string_view text) const override {
    check_text(text);
    return target_->cut(text);
  }

  std::vector<int32_t> source_ids(std::span<const std::string_view> tokens) const override {
    std::vector<int32_t> ids;
    for (const std::string_view token : tokens) ids.push_back(source_->id(token));
    if (ids.empty() || ids.back() != source_->end()) ids.push_back(source_->end());
    return ids;
  }

  std::vector<int32_t> target_ids(std::span<const std::string_view> tokens) const override {
    std::vector<int32_t> ids;
    for (const std::string_view token : tokens) ids.push_back(target_->id(token));
    return ids;
  }

  std::string source_token(int32_t id) const override { return std::string(source_->token(id)); }
  std::string target_token(int32_t id) const override { return std::string(target_->token(id)); }

  std::string decode(std::span<const int32_t> ids) const override {
    std::vector<std::string_view> tokens;
    for (const int32_t id : ids) {
      if (id != target_->end()) tokens.push_back(target_->token(id));
    }
    return target_->join(tokens);
  }

  std::vector<int32_t> closing(std::span<const int32_t>) const override { return {source_->end()}; }
  // The language is named by a token of the source.
  std::optional<int32_t> forced_bos_id(std::string_view) const override { return std::nullopt; }
  std::optional<int32_t> decoder_start_id(std::string_view) const override { return std::nullopt; }
  std::optional<int32_t> unknown_id() const override { return target_->unknown(); }
  std::span<const std::string> source_languages() const override { return {}; }
  std::span<const std::string> target_languages() const override { return languages_; }

 private:
  bool knows(std::string_view language) const {
    return std::ranges::find(languages_, language) != languages_.end();
  }

  std::string with_language(std::string_view text, std::string_view language) const {
    if (language.empty() || languages_.empty()) return std::string(text);
    if (!knows(language)) {
      std::string all;
      for (const std::string& code : languages_) all += (all.empty() ? "" : ", ") + code;
      throw OptionError("unknown target language " + quoted(language) + "; this model knows " +
                        all);
    }
    if (knows(named_in_front(text))) return std::string(text);
    return marked(language) + " " + std::string(text);
  }

  std::shared_ptr<const Side> source_, target_;
  std::vector<std::string> languages_;
};

}  // namespace

std::unique_ptr<const Tokenizer> create_marian_vocabulary(const io::Json& settings,
                                                          const Files& files) {
  return std::make_unique<const MarianVocabularyTokenizer>(
      SideSettings(settings.at("source")), SideSettings(settings.at("target")), files);
}

}  // namespace pytransformer::text
