// Rules about what a hypothesis has said so far.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

namespace pytransformer::decode {

// Appends to `tokens` each token that would complete an n-gram which `history` already holds.
void repeated_ngrams(std::span<const int32_t> history, int32_t n, std::vector<int32_t>& tokens);

// Appends the last token of each sequence whose others end `history`.
void last_tokens(std::span<const int32_t> history,
                 const std::vector<std::vector<int32_t>>& sequences, std::vector<int32_t>& tokens);

// Whether `history` ends with an n-gram of 1 to 8 tokens at least four times in a row, in eight or
// more tokens: what a translation that will not end looks like.
bool ends_in_loop(std::span<const int32_t> history);

}  // namespace pytransformer::decode
