// Random choice among tokens.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "decode/options.h"

namespace pytransformer::decode {

// SplitMix64 (Steele, Lea and Flood 2014). Seeded by what is translated, so that the same seed
// gives the same text whatever stands beside it.
class Random {
 public:
  Random(uint64_t seed, std::span<const int32_t> source, uint64_t sample);

  uint64_t next();
  // Uniform in [0, 1).
  double uniform() { return static_cast<double>(next() >> 11) * 0x1p-53; }

 private:
  uint64_t state_;
};

struct WeightedToken {
  int32_t id;
  float logit;
};

// Draws one of `tokens`, at least one, by softmax(logit / temperature) over the best top k of them
// and, of these, the fewest whose probabilities reach top p, as Hugging Face's warpers do. Returns
// its place in `tokens`, which are put in another order.
size_t draw(std::vector<WeightedToken>& tokens, const SearchOptions& options, Random& random);

}  // namespace pytransformer::decode
