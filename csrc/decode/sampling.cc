#include "decode/sampling.h"

#include <algorithm>
#include <cmath>

namespace pytransformer::decode {
namespace {

uint64_t mixed(uint64_t x) {
  x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9u;
  x = (x ^ (x >> 27)) * 0x94d049bb133111ebu;
  return x ^ (x >> 31);
}

bool better(const WeightedToken& a, const WeightedToken& b) {
  return a.logit != b.logit ? a.logit > b.logit : a.id < b.id;
}

bool worse(const WeightedToken& a, const WeightedToken& b) { return better(b, a); }

}  // namespace

Random::Random(uint64_t seed, std::span<const int32_t> source, uint64_t sample)
    : state_(mixed(seed)) {
  for (const int32_t token : source) {
    state_ = mixed(state_ + static_cast<uint64_t>(static_cast<uint32_t>(token)) + 1);
  }
  state_ = mixed(state_ ^ mixed(sample));
}

uint64_t Random::next() { return mixed(state_ += 0x9e3779b97f4a7c15u); }

size_t draw(std::vector<WeightedToken>& tokens, const SearchOptions& options, Random& random) {
  const auto top_k = static_cast<size_t>(options.sampling_topk);
  auto end = tokens.end();
  if (top_k > 0 && top_k < tokens.size()) {
    end = tokens.begin() + static_cast<ptrdiff_t>(top_k);
    std::nth_element(tokens.begin(), end - 1, tokens.end(), better);
  }
  const float best = std::min_element(tokens.begin(), end, better)->logit;
  const double scale = 1.0 / static_cast<double>(options.sampling_temperature);
  const auto weight = [&](const WeightedToken& token) {
    return std::exp((static_cast<double>(token.logit) - static_cast<double>(best)) * scale);
  };
  double total = 0;
  for (auto token = tokens.begin(); token != end; ++token) total += weight(*token);
  auto first = tokens.begin();
  if (options.sampling_topp < 1.0f) {
    // The nucleus is gathered at the end, where the heap leaves what it gives up.
    const double wanted = total * static_cast<double>(options.sampling_topp);
    std::make_heap(first, end, worse);
    total = 0;
    auto nucleus = end;
    while (nucleus != first && (nucleus == end || total < wanted)) {
      std::pop_heap(first, nucleus--, worse);
      total += weight(*nucleus);
    }
    first = nucleus;
  }
  double left = random.uniform() * total;
  auto chosen = first;
  for (auto token = first; token != end; ++token) {
    chosen = token;
    left -= weight(*token);
    if (left < 0) break;
  }
  return static_cast<size_t>(chosen - tokens.begin());
}

}  // namespace pytransformer::decode
