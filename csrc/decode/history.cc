#include "decode/history.h"

#include <algorithm>

namespace pytransformer::decode {
namespace {

constexpr size_t kLongestPeriod = 8;
constexpr size_t kLeastRounds = 4;
constexpr size_t kLeastTokens = 8;

}  // namespace

void repeated_ngrams(std::span<const int32_t> history, int32_t n, std::vector<int32_t>& tokens) {
  const auto size = static_cast<size_t>(n);
  if (n < 1 || history.size() < size) return;
  const std::span<const int32_t> tail = history.last(size - 1);
  for (size_t i = 0; i + size <= history.size(); ++i) {
    if (std::equal(tail.begin(), tail.end(), history.begin() + static_cast<ptrdiff_t>(i))) {
      tokens.push_back(history[i + size - 1]);
    }
  }
}

void last_tokens(std::span<const int32_t> history,
                 const std::vector<std::vector<int32_t>>& sequences, std::vector<int32_t>& tokens) {
  for (const std::vector<int32_t>& sequence : sequences) {
    const size_t before = sequence.size() - 1;
    if (before > history.size()) continue;
    const std::span<const int32_t> tail = history.last(before);
    if (std::equal(tail.begin(), tail.end(), sequence.begin())) tokens.push_back(sequence.back());
  }
}

bool ends_in_loop(std::span<const int32_t> history) {
  for (size_t period = 1; period <= kLongestPeriod; ++period) {
    const size_t wanted = std::max(kLeastRounds * period, kLeastTokens);
    if (history.size() < wanted) return false;
    const std::span<const int32_t> tail = history.last(wanted);
    if (std::equal(tail.begin() + static_cast<ptrdiff_t>(period), tail.end(), tail.begin())) {
      return true;
    }
  }
  return false;
}

}  // namespace pytransformer::decode
