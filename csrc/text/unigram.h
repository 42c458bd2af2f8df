// Cuts words into the most probable pieces of a unigram language model, as Hugging Face's
// tokenizers do, so that the pieces equal theirs.
#pragma once

#include <cstdint>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "text/best_path.h"
#include "text/vocabulary.h"

namespace pytransformer::text {

// The first tokens of a vocabulary are the model's pieces. The methods may be called from several
// threads at once.
class Unigram {
 public:
  // `scores`: the pieces' log probabilities as doubles; `unknown`: the id of the unknown piece.
  // Throws CheckpointError if they do not fit. Both arguments must outlive it.
  Unigram(const Vocabulary& vocabulary, std::string_view scores, int32_t unknown);

  // Appends the ids of a word's best pieces; a run of characters that no piece covers is one.
  void cut(std::string_view word, std::vector<int32_t>& ids) const;

 private:
  // Of a piece's id.
  double score(int32_t piece) const;
  // The piece with the text of a token, -1 if there is none.
  int32_t piece_of(int32_t id) const;
  void read_prefixes();

  const Vocabulary& vocabulary_;
  std::string_view scores_;
  int32_t count_;  // of pieces
  int32_t unknown_;
  int32_t unknown_token_;  // the one that is written as the unknown piece is
  double unknown_score_;
  std::unordered_map<int32_t, int32_t> shadowed_;  // pieces that are tokens once more, by those
  PrefixFilter prefixes_;
};

}  // namespace pytransformer::text
