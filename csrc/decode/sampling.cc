#include "decode/sampling.h"

#include <algorithm>

namespace pytransformer::decode {
namespace {

uint64_t mixed(uint64_t x) {
  x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9u;
  x = (x ^ (x >> 27)) * 0x94d049bb133111ebu;
  return x ^ (x >> 31);
}

}  // namespace

Random::Random(uint64_t seed, std::span<const int32_t> source, uint64_t sample)
    : state_(mixed(seed)) {
  for (const int32_t token : source) {
    state_ = mixed(state_ + static_cast<uint64_t>(static_cast<uint32_t>(token)) + 1);
  }
  state_ = mixed(state_ ^ mixed(sample));
}

uint64_t Random::next() { return mixed(state_ += 0x9e3779b97f4a7c15u); }

bool Sampler::better(const Token& a, const Token& b) {
  return a.logit != b.logit ? a.logit > b.logit : a.id < b.id;
}

int32_t Sampler::draw(Random& random) {
  size_t count = tokens_.size();
  const auto top_k = static_cast<size_t>(options_.sampling_topk);
  if (top_k > 0 && top_k < count) {
    count = top_k;
    std::nth_element(tokens_.begin(), tokens_.begin() + static_cast<ptrdiff_t>(count) - 1,
                     tokens_.end(), better);
  }
  double total = weigh(count);
  if (options_.sampling_topp < 1.0f) {
    count = nucleus(count, total * static_cast<double>(options_.sampling_topp));
    total = 0;
    for (size_t i = 0; i < count; ++i) total += static_cast<double>(tokens_[i].weight);
  }
  double left = random.uniform() * total;
  size_t chosen = 0;
  for (size_t i = 0; i < count && left >= 0; ++i) {
    if (tokens_[i].weight == 0.0f) continue;
    chosen = i;
    left -= static_cast<double>(tokens_[i].weight);
  }
  return tokens_[chosen].id;
}

// Gives the first tokens their weights, exp((logit - best) / temperature), and returns the sum.
double Sampler::weigh(size_t count) {
  const float best =
      std::min_element(tokens_.begin(), tokens_.begin() + static_cast<ptrdiff_t>(count), better)
          ->logit;
  const auto padded = static_cast<size_t>(kernels::padded(static_cast<int64_t>(count)));
  weights_.resize_discard(padded);
  for (size_t i = 0; i < count; ++i) {
    weights_[i] = (tokens_[i].logit - best) / options_.sampling_temperature;
  }
  for (size_t i = count; i < padded; ++i) weights_[i] = 0;
  kernels_.exp(weights_.data(), static_cast<int64_t>(padded));
  double total = 0;
  for (size_t i = 0; i < count; ++i) {
    tokens_[i].weight = weights_[i];
    total += static_cast<double>(weights_[i]);
  }
  return total;
}

// Brings the best tokens whose weights reach what is wanted to the front and returns how many: half
// of what is undecided is sorted out in each round, so that all rounds together take linear time.
size_t Sampler::nucleus(size_t count, double wanted) {
  size_t sure = 0;
  size_t end = count;
  while (end - sure > 1) {
    const size_t middle = sure + (end - sure) / 2;
    const auto place = [this](size_t i) { return tokens_.begin() + static_cast<ptrdiff_t>(i); };
    std::nth_element(place(sure), place(middle), place(end), better);
    double half = 0;
    for (size_t i = sure; i < middle; ++i) half += static_cast<double>(tokens_[i].weight);
    if (half >= wanted) {
      end = middle;
    } else {
      wanted -= half;
      sure = middle;
    }
  }
  return sure + 1;
}

}  // namespace pytransformer::decode
