// Pieces that hold the space in front of their word as "▁", as Hugging Face's tokenizers cut them.
//
// Ids and texts equal theirs: NLLB's, which merges pairs, mBART's and Pegasus's, which are unigram
// language models. Spaces are kept where sentencepiece drops them: one behind the text is a token
// of its own. Special tokens that stand literally in a text become those tokens.
#include <algorithm>
#include <functional>
#include <utility>

#include "text/added_tokens.h"
#include "text/character_map.h"
#include "text/clean_up.h"
#include "text/errors.h"
#include "text/pieces.h"
#include "text/sentencepiece.h"
#include "text/settings.h"
#include "text/unicode.h"
#include "text/unigram.h"
#include "text/vocabulary.h"

namespace pytransformer::text {
namespace {

constexpr std::string_view kSpace = "\u2581";

// Cuts texts whose spaces are "▁", and knows the ids of all tokens, added ones too.
class Model {
 public:
  virtual ~Model() = default;
  virtual void cut_ids(std::string_view text, std::vector<int32_t>& ids) const = 0;
  virtual void cut_names(std::string_view text, std::vector<int32_t>& ids) const = 0;
  virtual int32_t id_of(std::string_view token) const = 0;
  virtual std::optional<std::string_view> token_of(int32_t id) const = 0;
};

// Pieces made by merging pairs, which sentencepiece does. Their ids are those of the tokens.
class MergedPairs : public Model {
 public:
  MergedPairs(std::string_view content, int32_t unknown)
      : processor_(open_sentencepiece(content, "pieces.model")) {
    if (processor_->unknown_id() != unknown) {
      throw CheckpointError("pieces.model: the unknown piece has not the id " +
                            std::to_string(unknown));
    }
  }

  void cut_ids(std::string_view text, std::vector<int32_t>& ids) const override {
    processor_->cut(text, [&](std::string_view, int32_t id) { ids.push_back(id); });
  }

  void cut_names(std::string_view text, std::vector<int32_t>& ids) const override {
    processor_->cut(text, [&](std::string_view piece, int32_t) { ids.push_back(id_of(piece)); });
  }

  int32_t id_of(std::string_view token) const override { return processor_->id(token); }

  std::optional<std::string_view> token_of(int32_t id) const override {
    if (id < 0 || id >= processor_->size()) return std::nullopt;
    return processor_->piece(id);
  }

 private:
  std::unique_ptr<const SentencePiece> processor_;
};

// Pieces of a unigram language model, cut word by word: `tokens.json` holds all tokens,
// `scores.bin` the log probabilities of the first of them, those which are the model's.
class UnigramWords : public Model {
 public:
  UnigramWords(const Files& files, int32_t unknown)
      : vocabulary_(read_tokens(file(files, "tokens.json"), "tokens.json", Null::word_none)),
        unigram_(vocabulary_, file(files, "scores.bin"), unknown),
        unknown_(unknown) {}

  void cut_ids(std::string_view text, std::vector<int32_t>& ids) const override {
    // A word reaches up to the next space, and begins with its own.
    while (!text.empty()) {
      const size_t own = text.starts_with(kSpace) ? kSpace.size() : 0;
      const size_t length = std::min(text.find(kSpace, own), text.size());
      unigram_.cut(text.substr(0, length), ids);
      text.remove_prefix(length);
    }
  }

  void cut_names(std::string_view text, std::vector<int32_t>& ids) const override {
    cut_ids(text, ids);
  }

  int32_t id_of(std::string_view token) const override {
    return vocabulary_.find(token).value_or(unknown_);
  }

  std::optional<std::string_view> token_of(int32_t id) const override {
    return vocabulary_.token(id);
  }

 private:
  Vocabulary vocabulary_;
  Unigram unigram_;
  int32_t unknown_;
};

using Rule = std::function<std::string(std::string_view)>;

std::string single_spaces(std::string_view text) {
  std::string result;
  for (const char c : text) {
    if (c != ' ' || !result.ends_with(' ')) result += c;
  }
  return result;
}

// A step of the normalisation, by its name in the settings.
Rule read_rule(const std::string& name, const Files& files) {
  if (name == "character_map") {
    return [trie = CharacterTrie(file(files, "character_map.bin"))](std::string_view text) {
      return mapped(text, trie);
    };
  }
  if (name == "newlines_to_spaces") {
    return [](std::string_view text) { return replaced(text, "\n", " "); };
  }
  if (name == "strip_right") {
    return [](std::string_view text) {
      return std::string(without_trailing_space(text, Spaces::library));
    };
  }
  if (name == "single_spaces") return single_spaces;
  throw io::JsonError("normalizers: unknown step " + quoted(name));
}

std::vector<Rule> read_rules(const io::Json& settings, const Files& files) {
  std::vector<Rule> rules;
  for (const std::string& name : strings(settings, "normalizers")) {
    rules.push_back(read_rule(name, files));
  }
  return rules;
}

std::unique_ptr<const Model> read_model(const io::Json& settings, const Files& files) {
  const int32_t unknown = id(settings, "unknown_id");
  if (string(settings, "model") == "pairs") {
    return std::make_unique<const MergedPairs>(file(files, "pieces.model"), unknown);
  }
  return std::make_unique<const UnigramWords>(files, unknown);
}

std::vector<AddedToken> chosen(const io::Json& settings, bool normalized) {
  std::vector<AddedToken> tokens = read_added_tokens(settings);
  std::erase_if(tokens, [&](const AddedToken& token) { return token.normalized != normalized; });
  return tokens;
}

// Appends a word with a space in front of it; nothing stays nothing.
void append_begun(std::string& text, std::string_view word) {
  if (!word.empty() && !word.starts_with(kSpace)) text += kSpace;
  text += word;
}

class MetaspacePieces : public Pieces {
 public:
  MetaspacePieces(const io::Json& settings, const Files& files)
      : unknown_(id(settings, "unknown_id")),
        model_(read_model(settings, files)),
        rules_(read_rules(settings, files)),
        splits_at_white_space_(flag(settings, "splits_at_white_space")),
        cleans_up_(flag(settings, "clean_up_tokenization_spaces")),
        raw_tokens_(chosen(settings, false)),
        normal_tokens_(chosen(settings, true), Spaces::library,
                       [&](std::string_view text) { return normalised(text); }) {
    for (const AddedToken& token : read_added_tokens(settings)) {
      if (token.special) special_ids_.push_back(token.id);
    }
    std::ranges::sort(special_ids_);
  }

  int32_t unknown_id() const override { return unknown_; }

  std::vector<int32_t> cut_ids(std::string_view text) const override {
    return cut(text, &Model::cut_ids);
  }
  std::vector<int32_t> cut_names(std::string_view text) const override {
    return cut(text, &Model::cut_names);
  }
  int32_t id_of(std::string_view token) const override { return model_->id_of(token); }
  std::optional<std::string_view> token_of(int32_t id) const override {
    return model_->token_of(id);
  }

  std::string text(std::span<const int32_t> ids) const override {
    std::vector<std::string_view> tokens;
    for (const int32_t id : ids) {
      if (std::ranges::binary_search(special_ids_, id)) continue;
      if (const auto token = token_of(id)) tokens.push_back(*token);
    }
    return text_of(tokens);
  }

  std::string text_of(std::span<const std::string_view> tokens) const override {
    std::string text;
    for (size_t i = 0; i < tokens.size(); ++i) {
      append_replaced(text, tokens[i], kSpace, i == 0 ? "" : " ");
    }
    return cleans_up_ ? cleaned_up(std::move(text)) : text;
  }

 private:
  std::vector<int32_t> cut(std::string_view text,
                           void (Model::*cut_part)(std::string_view, std::vector<int32_t>&)
                               const) const {
    std::vector<int32_t> ids;
    const auto take_normal = [&](std::string_view part, const AddedToken* token) {
      if (token != nullptr) {
        ids.push_back(id_of(part));
      } else {
        ((*model_).*cut_part)(spaced(part), ids);
      }
    };
    raw_tokens_.cut(text, [&](std::string_view segment, const AddedToken* token) {
      if (token != nullptr) {
        ids.push_back(id_of(segment));
      } else {
        normal_tokens_.cut(normalised(segment), take_normal);
      }
    });
    return ids;
  }

  std::string normalised(std::string_view text) const {
    std::string result(text);
    for (const Rule& rule : rules_) result = rule(result);
    return result;
  }

  // A text with "▁" for its spaces.
  std::string spaced(std::string_view text) const {
    std::string result;
    if (!splits_at_white_space_) {
      append_begun(result, replaced(text, " ", kSpace));
      return result;
    }
    for (size_t place = skip_space(text, 0, Spaces::library); place < text.size();) {
      const size_t end = find_space(text, place, Spaces::library);
      append_begun(result, text.substr(place, end - place));
      place = skip_space(text, end, Spaces::library);
    }
    return result;
  }

  int32_t unknown_;
  std::unique_ptr<const Model> model_;
  std::vector<Rule> rules_;
  bool splits_at_white_space_;
  bool cleans_up_;
  AddedTokens raw_tokens_, normal_tokens_;
  std::vector<int32_t> special_ids_;  // sorted
};

}  // namespace

std::unique_ptr<const Pieces> metaspace_pieces(const io::Json& settings, const Files& files) {
  return std::make_unique<const MetaspacePieces>(settings, files);
}

}  // namespace pytransformer::text
