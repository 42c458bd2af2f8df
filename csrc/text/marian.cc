// The tokenizer of MarianMT models: two sentencepiece models and a vocabulary of their own.
//
// Ids and texts equal those of transformers' MarianTokenizer. Its peculiarities, kept on purpose:
// special tokens that stand literally in a text become those tokens; `>>xx<<` at the start of a
// text selects the target language; with one vocabulary for both sides, the source's sentencepiece
// model joins the pieces of the translation, though the target's cuts target text.
#include <algorithm>
#include <mutex>
#include <utility>

#include "text/added_tokens.h"
#include "text/clean_up.h"
#include "text/errors.h"
#include "text/kinds.h"
#include "text/sentencepiece.h"
#include "text/settings.h"
#include "text/unicode.h"
#include "text/vocabulary.h"

namespace pytransformer::text {
namespace {

constexpr std::string_view kUnderline = "\u2581";
constexpr std::string_view kSeveral = "mul";  // ISO 639-2: "multiple languages"

std::vector<std::string> named(const std::optional<std::string>& language) {
  if (!language || language->empty() || *language == kSeveral) return {};
  return {*language};
}

// Whether two codes are surely two languages. A code of more than two letters may be another name
// of the same language (deu), a variant of it (pt_BR) or a group to which it belongs (roa, mul).
bool differ(std::string_view language, std::string_view known) {
  return count_characters(language) == 2 && count_characters(known) == 2 && language != known;
}

[[noreturn]] void unknown_language(const char* side, std::string_view language,
                                   std::span<const std::string> known) {
  std::string all;
  for (const std::string& code : known) all += (all.empty() ? "" : ", ") + code;
  throw OptionError(std::string("unknown ") + side + " language " + quoted(language) +
                    "; this model knows " + all);
}

void check_named(const char* side, std::string_view language, std::span<const std::string> known) {
  const bool differs =
      std::ranges::any_of(known, [&](const std::string& code) { return differ(language, code); });
  if (differs) unknown_language(side, language, known);
}

// The language that a text names in front, as in `>>xx<<`; empty if it names none.
std::string_view named_in_front(std::string_view text) {
  if (!text.starts_with(">>") || text.size() < 3) return {};
  const size_t end = text.find("<<", 3);
  return end == std::string_view::npos ? std::string_view() : text.substr(2, end - 2);
}

// The vocabulary of one side and the sentencepiece model that joins its pieces.
struct Side {
  Vocabulary vocabulary;
  std::unique_ptr<const SentencePiece> pieces;
  int32_t unknown;

  Side(const Files& files, const std::string& name, std::string_view unknown_token)
      : vocabulary(read_tokens(file(files, name + "_vocabulary.json"), name + "_vocabulary.json")),
        pieces(open_sentencepiece(file(files, name + ".spm"), name + ".spm")),
        unknown(vocabulary.required(unknown_token)) {}

  int32_t id(std::string_view token) const { return vocabulary.find(token).value_or(unknown); }

  std::string_view token(int32_t id) const {
    if (const auto found = vocabulary.token(id)) return *found;
    // An embedding may have more rows than the vocabulary; transformers then asks sentencepiece.
    if (id >= 0 && id < pieces->size()) return pieces->piece(id);
    throw OptionError("no token has the id " + std::to_string(id));
  }

  std::vector<int32_t> ids(std::span<const std::string_view> tokens) const {
    std::vector<int32_t> result;
    for (const std::string_view one : tokens) result.push_back(id(one));
    return result;
  }
};

class MarianTokenizer : public Tokenizer {
 public:
  MarianTokenizer(const io::Json& settings, const Files& files)
      : languages_(strings(settings, "prefix_languages")),
        default_language_(find_string(settings, "default_target_language").value_or("")),
        source_languages_(named(find_string(settings, "source_lang"))),
        target_languages_(languages_.empty() ? named(find_string(settings, "target_lang"))
                                             : languages_),
        added_(read_added_tokens(settings)),
        cleans_up_(flag(settings, "clean_up_tokenization_spaces")),
        source_(files, "source", string(settings, "unk_token")),
        end_(source_.vocabulary.required(string(settings, "eos_token"))) {
    const std::string_view target_file = file(files, "target.spm");
    if (flag(settings, "separate_vocabs")) {
      target_.emplace(files, "target", string(settings, "unk_token"));
    } else if (target_file != file(files, "source.spm")) {
      target_file_ = target_file;
    }
    for (const AddedToken& token : read_added_tokens(settings)) {
      if (!token.special) continue;
      if (const auto id = target().vocabulary.find(token.content)) special_ids_.push_back(*id);
    }
    if (!default_language_.empty() && !knows(default_language_)) {
      throw CheckpointError("default_target_language " + quoted(default_language_) +
                            " is not a language of the model");
    }
  }

  std::vector<int32_t> encode_ids(std::string_view text, const Languages& given) const override {
    check_text(text);
    std::vector<int32_t> ids = cut(with_prefix(text, given), *source_.pieces, source_);
    ids.push_back(end_);
    return ids;
  }

  std::vector<int32_t> encode_target_ids(std::string_view text) const override {
    check_text(text);
    return cut(text, target_cutter(), target());
  }

  std::vector<int32_t> source_ids(std::span<const std::string_view> tokens) const override {
    std::vector<int32_t> ids = source_.ids(tokens);
    if (ids.empty() || ids.back() != end_) ids.push_back(end_);
    return ids;
  }

  std::vector<int32_t> target_ids(std::span<const std::string_view> tokens) const override {
    return target().ids(tokens);
  }

  std::string source_token(int32_t id) const override { return std::string(source_.token(id)); }
  std::string target_token(int32_t id) const override { return std::string(target().token(id)); }

  std::string decode(std::span<const int32_t> ids) const override {
    std::vector<std::string_view> tokens;
    for (const int32_t id : ids) {
      if (std::ranges::find(special_ids_, id) == special_ids_.end()) {
        tokens.push_back(target().token(id));
      }
    }
    const std::string text = replaced(target().pieces->join(tokens), kUnderline, " ");
    const std::string_view stripped = without_leading_space(without_trailing_space(text));
    return cleans_up_ ? cleaned_up(std::string(stripped)) : std::string(stripped);
  }

  std::vector<int32_t> closing(std::span<const int32_t>) const override { return {end_}; }
  // The language is named by a token of the source.
  std::optional<int32_t> forced_bos_id(std::string_view) const override { return std::nullopt; }
  std::optional<int32_t> decoder_start_id(std::string_view) const override { return std::nullopt; }
  std::optional<int32_t> unknown_id() const override { return target().unknown; }
  std::span<const std::string> source_languages() const override { return source_languages_; }
  std::span<const std::string> target_languages() const override { return target_languages_; }

 private:
  const Side& target() const { return target_ ? *target_ : source_; }

  bool knows(std::string_view language) const {
    return std::ranges::find(languages_, language) != languages_.end();
  }

  std::string with_prefix(std::string_view text, const Languages& given) const {
    check_named("source", given.source, source_languages_);
    std::string result(text);
    if (languages_.empty()) {
      check_named("target", given.target, target_languages_);
      return result;
    }
    const std::string_view language = given.target.empty() ? default_language_ : given.target;
    if (language.empty()) return result;
    if (!knows(language)) unknown_language("target", language, languages_);
    if (knows(named_in_front(text))) return result;
    return ">>" + std::string(language) + "<< " + result;
  }

  // What cuts target text, made when it is first used: translation has no need of it.
  const SentencePiece& target_cutter() const {
    if (target_file_.empty()) return *target().pieces;
    std::call_once(made_cutter_,
                   [&] { target_cutter_ = open_sentencepiece(target_file_, "target.spm"); });
    return *target_cutter_;
  }

  std::vector<int32_t> cut(std::string_view text, const SentencePiece& pieces,
                           const Side& side) const {
    std::vector<int32_t> ids;
    added_.cut(text, [&](std::string_view part, const AddedToken* token) {
      if (token != nullptr) {
        ids.push_back(side.id(part));
        return;
      }
      // A language that stands before the part is one token.
      const size_t mark = part.starts_with(">>") ? part.find("<<") : std::string_view::npos;
      if (mark != std::string_view::npos) {
        ids.push_back(side.id(part.substr(0, mark + 2)));
        part.remove_prefix(mark + 2);
      }
      pieces.cut(part, [&](std::string_view piece, int32_t) { ids.push_back(side.id(piece)); });
    });
    return ids;
  }

  std::vector<std::string> languages_;
  std::string default_language_;
  std::vector<std::string> source_languages_, target_languages_;
  AddedTokens added_;
  bool cleans_up_;
  Side source_;
  int32_t end_;
  std::optional<Side> target_;  // where the sides have vocabularies of their own
  std::vector<int32_t> special_ids_;
  std::string_view target_file_;  // where another model than the source's cuts target text
  mutable std::once_flag made_cutter_;
  mutable std::unique_ptr<const SentencePiece> target_cutter_;
};

}  // namespace

std::unique_ptr<const Tokenizer> create_marian(const io::Json& settings, const Files& files) {
  return std::make_unique<const MarianTokenizer>(settings, files);
}

}  // namespace pytransformer::text
