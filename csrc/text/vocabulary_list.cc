// The tokenizer of models that come with nothing but their lists of tokens.
//
// Tokens become ids and ids tokens. Text is cut by the sentencepiece model or the BPE codes that
// lie beside the lists, or, where the settings say that the tokens are words, at white space.
#include <algorithm>
#include <utility>

#include "text/cutters.h"
#include "text/errors.h"
#include "text/kinds.h"
#include "text/settings.h"
#include "text/unicode.h"
#include "text/vocabulary.h"

namespace pytransformer::text {
namespace {

using SharedCutter = std::shared_ptr<const Cutter>;

// What cuts and numbers the text of one side.
struct Side {
  Vocabulary vocabulary;
  int32_t unknown;
  SharedCutter cutter;  // null if nothing cuts text

  Side(const std::string& name, const std::string& unknown_token, const Files& files)
      : vocabulary(read_tokens(file(files, name), name, Null::error), Twice::first),
        unknown(read_unknown(name, unknown_token)) {}

  int32_t id(std::string_view token) const { return vocabulary.find(token).value_or(unknown); }

  std::vector<int32_t> ids(std::span<const std::string_view> tokens) const {
    std::vector<int32_t> result;
    for (const std::string_view token : tokens) result.push_back(id(token));
    return result;
  }

  std::string_view token(int32_t id) const {
    if (const auto found = vocabulary.token(id)) return *found;
    throw OptionError("no token has the id " + std::to_string(id));
  }

  const Cutter& checked_cutter() const {
    if (cutter != nullptr) return *cutter;
    throw OptionError(
        "this model has lists of tokens and nothing that cuts text into them; put its "
        "sentencepiece model beside it (sentencepiece.model, or source.spm and target.spm), or "
        "give and take tokens");
  }

 private:
  int32_t read_unknown(const std::string& name, const std::string& token) const {
    if (const std::optional<int32_t> found = vocabulary.find(token)) return *found;
    throw CheckpointError(name + ": there is no " + quoted(token));
  }
};

// The content of a side's file that cuts text, and whether it holds BPE codes; BPE counts of two.
struct CutterFile {
  std::string_view content;
  bool is_bpe = false;
  bool is_there = false;

  CutterFile(const Files& files, const std::string& side) {
    for (const bool bpe : {false, true}) {
      const auto found = files.find(side + (bpe ? ".bpe" : ".spm"));
      if (found != files.end()) *this = {found->second, bpe, true};
    }
  }

  SharedCutter open() const {
    if (!is_there) return nullptr;
    return is_bpe ? merged_pairs_cutter(content) : pieces_cutter(content);
  }

  bool operator==(const CutterFile&) const = default;

 private:
  CutterFile(std::string_view text, bool bpe, bool there)
      : content(text), is_bpe(bpe), is_there(there) {}
};

void check_languages(const Languages& given) {
  for (const auto& [name, language] :
       {std::pair("src_lang", given.source), std::pair("tgt_lang", given.target)}) {
    if (language.empty()) continue;
    throw OptionError(std::string(name) + " is " + quoted(language) +
                      ", but this model does not say which languages it knows");
  }
}

class VocabularyListTokenizer : public Tokenizer {
 public:
  VocabularyListTokenizer(const io::Json& settings, const Files& files)
      : begin_(string(settings, "bos_token")),
        end_(string(settings, "eos_token")),
        adds_begin_(flag(settings, "add_source_bos")),
        adds_end_(flag(settings, "add_source_eos")),
        texts_end_(flag(settings, "texts_end")),
        texts_begin_(find_flag(settings, "texts_begin")),
        source_("source_vocabulary.json", string(settings, "unk_token"), files),
        target_("target_vocabulary.json", string(settings, "unk_token"), files) {
    add_special(begin_);
    add_special(end_);
    if (const auto start = nullable_string(settings, "decoder_start_token")) add_special(*start);
    if (!find_flag(settings, "shows_unknown")) special_ids_.push_back(target_.unknown);
    const CutterFile source(files, "source"), target(files, "target");
    source_.cutter = source.open();
    target_.cutter = target == source ? source_.cutter : target.open();
    if (!find_flag(settings, "splits_words")) return;
    for (Side* const side : {&source_, &target_}) {
      if (side->cutter == nullptr) side->cutter = word_cutter();
    }
  }

  std::vector<int32_t> encode_ids(std::string_view text, const Languages& given) const override {
    check_languages(given);
    check_text(text);
    std::vector<int32_t> ids;
    if (texts_begin_) ids.push_back(source_.id(begin_));
    cut(source_, text, ids);
    ids = framed(std::move(ids));
    const std::optional<int32_t> end = source_.vocabulary.find(end_);
    if (texts_end_ && end && (ids.empty() || ids.back() != *end)) ids.push_back(*end);
    return ids;
  }

  std::vector<int32_t> encode_target_ids(std::string_view text) const override {
    check_text(text);
    std::vector<int32_t> ids;
    cut(target_, text, ids);
    return ids;
  }

  std::vector<int32_t> source_ids(std::span<const std::string_view> tokens) const override {
    return framed(source_.ids(tokens));
  }

  std::vector<int32_t> target_ids(std::span<const std::string_view> tokens) const override {
    return target_.ids(tokens);
  }

  std::string source_token(int32_t id) const override { return std::string(source_.token(id)); }
  std::string target_token(int32_t id) const override { return std::string(target_.token(id)); }

  std::string decode(std::span<const int32_t> ids) const override {
    std::vector<std::string_view> tokens;
    for (const int32_t id : ids) {
      const bool is_special = std::ranges::find(special_ids_, id) != special_ids_.end();
      if (!is_special) tokens.push_back(target_.token(id));
    }
    return target_.checked_cutter().join(tokens);
  }

  std::vector<int32_t> closing(std::span<const int32_t>) const override {
    if (!adds_end_) return {};
    return {source_.id(end_)};
  }

  // A language is named by a token of the source or of the prefix.
  std::optional<int32_t> forced_bos_id(std::string_view) const override { return std::nullopt; }
  std::optional<int32_t> decoder_start_id(std::string_view) const override { return std::nullopt; }
  std::optional<int32_t> unknown_id() const override { return target_.unknown; }
  std::span<const std::string> source_languages() const override { return {}; }
  std::span<const std::string> target_languages() const override { return {}; }

 private:
  void add_special(std::string_view token) {
    if (const auto id = target_.vocabulary.find(token)) special_ids_.push_back(*id);
  }

  static void cut(const Side& side, std::string_view text, std::vector<int32_t>& ids) {
    side.checked_cutter().cut(text, [&](std::string_view token) { ids.push_back(side.id(token)); });
  }

  // A source with what the model's settings put around it.
  std::vector<int32_t> framed(std::vector<int32_t> ids) const {
    const std::optional<int32_t> begin = source_.vocabulary.find(begin_);
    const std::optional<int32_t> end = source_.vocabulary.find(end_);
    if (adds_begin_ && (ids.empty() || ids.front() != begin)) {
      ids.insert(ids.begin(), source_.id(begin_));
    }
    if (adds_end_ && (ids.empty() || ids.back() != end)) ids.push_back(source_.id(end_));
    return ids;
  }

  std::string begin_, end_;
  bool adds_begin_, adds_end_, texts_end_, texts_begin_;
  Side source_, target_;
  std::vector<int32_t> special_ids_;
};

}  // namespace

std::unique_ptr<const Tokenizer> create_vocabulary_list(const io::Json& settings,
                                                        const Files& files) {
  return std::make_unique<const VocabularyListTokenizer>(settings, files);
}

}  // namespace pytransformer::text
