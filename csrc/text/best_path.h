// The most probable sequence of pieces by a unigram language model.
//
// Kudo 2018, "Subword Regularization": every piece has a log probability, and the best sequence of
// pieces is found by dynamic programming. Ties go to the longer last piece.
#pragma once

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstdint>
#include <limits>
#include <optional>
#include <string_view>
#include <type_traits>
#include <vector>

#include "text/unicode.h"
#include "text/vocabulary.h"

namespace pytransformer::text {

// A piece for a character that no piece covers is so much less probable than any other.
inline constexpr double kUnknownPenalty = 10.0;

// Says of hardly any text that a piece begins with it if none does.
class PrefixFilter {
 public:
  explicit PrefixFilter(size_t num_pieces) : words_(std::bit_ceil(num_pieces + 1)) {}

  void add(std::string_view piece) {
    uint64_t hash = Vocabulary::kHashOfNothing;
    for (size_t end = 0; end < piece.size();) {
      const size_t length = character_length(piece, end);
      for (size_t i = 0; i < length; ++i) hash = Vocabulary::grown_hash(hash, piece[end++]);
      words_[hash / 32 % words_.size()] |= 1u << hash % 32;
    }
  }

  // By the text's hash.
  bool may_begin_piece(uint64_t hash) const {
    return (words_[hash / 32 % words_.size()] >> hash % 32 & 1) != 0;
  }

 private:
  std::vector<uint32_t> words_;  // a power of two
};

struct PathPiece {
  static constexpr int32_t kUnknown = -1;

  size_t start, end;  // bytes
  int32_t id;         // kUnknown for a character that no piece covers
};

// The last piece of the best sequence that ends at a byte.
template <class Number>
struct PathStep {
  static constexpr size_t kNone = std::numeric_limits<size_t>::max();

  Number score = 0;
  size_t start = kNone;
  int32_t id = PathPiece::kUnknown;

  void offer(Number other_score, size_t other_start, int32_t other_id) {
    if (start == kNone || other_score > score) *this = {other_score, other_start, other_id};
  }
};

// Keeps sums small, as sentencepiece does in very long texts, where floats grow coarse.
template <class Number>
void settle(std::vector<PathStep<Number>>& steps, size_t start) {
  constexpr Number kLargest = 100000;
  const Number offset = steps[start].score;
  if (!(std::abs(offset) > kLargest)) return;
  for (size_t i = start; i < steps.size(); ++i) {
    if (steps[i].start != PathStep<Number>::kNone) steps[i].score -= offset;
  }
}

// `score_of(id, length)` is the score of the token `id` with so many bytes, none if that is no
// piece. Sums are of type Number: double as in Hugging Face's tokenizers, float as in
// sentencepiece.
template <class Number, class ScoreOf>
std::vector<PathPiece> best_path(std::string_view text, const Vocabulary& vocabulary,
                                 const PrefixFilter& prefixes, Number unknown_score,
                                 ScoreOf score_of) {
  std::vector<PathStep<Number>> steps(text.size() + 1);
  for (size_t start = 0, next = 0; start < text.size(); start = next) {
    if constexpr (std::is_same_v<Number, float>) settle(steps, start);
    next = start + character_length(text, start);
    bool is_covered = false;
    uint64_t hash = Vocabulary::kHashOfNothing;
    for (size_t end = start; end < text.size();) {
      const size_t length = character_length(text, end);
      for (size_t i = 0; i < length; ++i) hash = Vocabulary::grown_hash(hash, text[end++]);
      if (!prefixes.may_begin_piece(hash)) break;
      const auto id = vocabulary.find(text.substr(start, end - start), hash);
      if (!id) continue;
      const std::optional<Number> score = score_of(*id, end - start);
      if (!score) continue;
      steps[end].offer(steps[start].score + *score, start, *id);
      is_covered = is_covered || end == next;
    }
    if (!is_covered) {
      steps[next].offer(steps[start].score + unknown_score, start, PathPiece::kUnknown);
    }
  }
  std::vector<PathPiece> path;
  for (size_t end = text.size(); end > 0; end = steps[end].start) {
    path.push_back({steps[end].start, end, steps[end].id});
  }
  std::reverse(path.begin(), path.end());
  return path;
}

}  // namespace pytransformer::text
