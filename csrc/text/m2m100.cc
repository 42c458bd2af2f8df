// The pieces of M2M100 and SMaLL-100: a sentencepiece model, and a vocabulary that numbers them.
//
// Ids and texts equal those of transformers' M2M100Tokenizer. Special tokens that stand literally
// in a text become those tokens.
#include <algorithm>

#include "text/added_tokens.h"
#include "text/clean_up.h"
#include "text/errors.h"
#include "text/pieces.h"
#include "text/sentencepiece.h"
#include "text/settings.h"
#include "text/unicode.h"
#include "text/vocabulary.h"

namespace pytransformer::text {
namespace {

class VocabularyPieces : public Pieces {
 public:
  VocabularyPieces(const io::Json& settings, const Files& files)
      : processor_(open_sentencepiece(file(files, "sentencepiece.model"), "sentencepiece.model")),
        vocabulary_(read_tokens(file(files, "vocabulary.json"), "vocabulary.json")),
        unknown_(vocabulary_.required(string(settings, "unk_token"))),
        added_(read_added_tokens(settings)),
        cleans_up_(flag(settings, "clean_up_tokenization_spaces")) {
    for (const std::string& token : strings(settings, "special_tokens")) {
      special_ids_.push_back(vocabulary_.required(token));
    }
    std::ranges::sort(special_ids_);
  }

  int32_t unknown_id() const override { return unknown_; }

  std::vector<int32_t> cut_ids(std::string_view text) const override {
    std::vector<int32_t> ids;
    added_.cut(text, [&](std::string_view part, const AddedToken* token) {
      if (token != nullptr) {
        ids.push_back(id_of(part));
        return;
      }
      processor_->cut(part, [&](std::string_view piece, int32_t) { ids.push_back(id_of(piece)); });
    });
    return ids;
  }

  int32_t id_of(std::string_view token) const override {
    return vocabulary_.find(token).value_or(unknown_);
  }

  std::optional<std::string_view> token_of(int32_t id) const override {
    return vocabulary_.token(id);
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
    const std::string text = processor_->join(tokens);
    const std::string stripped(without_leading_space(without_trailing_space(text)));
    return cleans_up_ ? cleaned_up(stripped) : stripped;
  }

 private:
  std::unique_ptr<const SentencePiece> processor_;
  Vocabulary vocabulary_;
  int32_t unknown_;
  AddedTokens added_;
  bool cleans_up_;
  std::vector<int32_t> special_ids_;  // sorted
};

}  // namespace

std::unique_ptr<const Pieces> m2m100_pieces(const io::Json& settings, const Files& files) {
  return std::make_unique<const VocabularyPieces>(settings, files);
}

}  // namespace pytransformer::text
