#include "text/unigram.h"

#include <algorithm>
#include <cstring>
#include <optional>
#include <string>

#include "text/errors.h"
#include "text/unicode.h"

namespace pytransformer::text {
namespace {

// Longer pieces, of which no model has any, would make long words slow.
constexpr size_t kLongestPiece = 256;  // characters

[[noreturn]] void unfit(const std::string& what) {
  throw CheckpointError("the tokenizer's settings or files are incomplete: " + what);
}

}  // namespace

Unigram::Unigram(const Vocabulary& vocabulary, std::string_view scores, int32_t unknown)
    : vocabulary_(vocabulary),
      scores_(scores),
      count_(static_cast<int32_t>(scores.size() / sizeof(double))),
      unknown_(unknown),
      prefixes_(vocabulary.size()) {
  const bool is_whole = scores.size() % sizeof(double) == 0 && !scores.empty();
  if (!is_whole || scores.size() / sizeof(double) > vocabulary.size()) {
    unfit("scores.bin has not one score for each of the first tokens");
  }
  const std::optional<std::string_view> unknown_piece = vocabulary.token(unknown);
  if (unknown >= count_ || !unknown_piece) unfit("the unknown piece has no score");
  unknown_token_ = vocabulary.required(*unknown_piece);
  double least = score(0);
  for (int32_t piece = 1; piece < count_; ++piece) least = std::min(least, score(piece));
  unknown_score_ = least - kUnknownPenalty;
  read_prefixes();
  for (const auto& [before, id] : vocabulary.repeated()) {
    if (id >= count_) shadowed_[id] = piece_of(before);
  }
}

void Unigram::read_prefixes() {
  for (int32_t piece = 0; piece < count_; ++piece) {
    const std::string_view text = vocabulary_.token(piece).value_or("");
    prefixes_.add(text);
    const size_t length = text.size() > kLongestPiece ? count_characters(text) : 0;
    if (length > kLongestPiece) {
      throw CheckpointError("the tokenizer has a piece of " + std::to_string(length) +
                            " characters, more than " + std::to_string(kLongestPiece));
    }
  }
}

void Unigram::cut(std::string_view word, std::vector<int32_t>& ids) const {
  const auto score_of = [&](int32_t id, size_t) -> std::optional<double> {
    const int32_t piece = piece_of(id);
    if (piece < 0) return std::nullopt;
    return score(piece);
  };
  std::string_view run;  // of characters that no piece covers
  const auto take_run = [&] {
    if (!run.empty()) ids.push_back(vocabulary_.find(run).value_or(unknown_));
    run = {};
  };
  for (const auto& [start, end, id] :
       best_path(word, vocabulary_, prefixes_, unknown_score_, score_of)) {
    if (id == PathPiece::kUnknown || id == unknown_token_) {
      const size_t begin = start - run.size();
      run = word.substr(begin, end - begin);
    } else {
      take_run();
      ids.push_back(id);
    }
  }
  take_run();
}

double Unigram::score(int32_t piece) const {
  double result;
  std::memcpy(&result, scores_.data() + static_cast<size_t>(piece) * sizeof result, sizeof result);
  return result;
}

int32_t Unigram::piece_of(int32_t id) const {
  if (id < count_) return id;
  const auto found = shadowed_.find(id);
  return found == shadowed_.end() ? -1 : found->second;
}

}  // namespace pytransformer::text
