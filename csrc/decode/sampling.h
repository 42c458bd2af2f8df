// Random choice among tokens.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "decode/options.h"
#include "kernels/kernels.h"
#include "simd/aligned.h"

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

// Draws a token by softmax(logit / temperature) over the best top k of those given and, of these,
// the fewest whose probabilities reach top p, as Hugging Face's warpers do.
class Sampler {
 public:
  // Both must outlive the sampler.
  Sampler(const SearchOptions& options, const kernels::Table& kernels)
      : options_(options), kernels_(kernels) {}

  void clear() { tokens_.clear(); }
  void add(int32_t id, float logit) { tokens_.push_back({id, logit, 0.0f}); }
  bool empty() const { return tokens_.empty(); }
  // One of the tokens, of which there must be some.
  int32_t draw(Random& random);

 private:
  struct Token {
    int32_t id;
    float logit;
    float weight;
  };

  static bool better(const Token& a, const Token& b);
  double weigh(size_t count);
  size_t nucleus(size_t count, double wanted);

  const SearchOptions& options_;
  const kernels::Table& kernels_;
  std::vector<Token> tokens_;
  simd::AlignedBuffer<float> weights_;
};

}  // namespace pytransformer::decode
