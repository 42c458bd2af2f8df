#include "nn/distances.h"

#include <algorithm>
#include <cmath>

namespace pytransformer::nn {
namespace {

using kernels::padded;
using simd::allocated_by_growth;

constexpr int64_t kLeastReach = 64;
// Queries whose scores and weights lie in scratch at once.
constexpr int64_t kQueryBlock = 16;

}  // namespace

void DistanceTables::need(int64_t positions) {
  if (!spec_.distances || positions <= reach_) return;
  reach_ = std::max({positions, 2 * reach_, kLeastReach});
  if (spec_.distances->kind == DistanceKind::bias) spread_biases();
  if (spec_.distances->kind == DistanceKind::rotary) compute_angles();
}

// They reach at most twice as far as was asked for.
int64_t DistanceTables::bytes(const StackSpec& spec, int64_t positions) {
  constexpr auto kNumber = static_cast<int64_t>(sizeof(float));
  const int64_t reach = std::max(2 * positions, kLeastReach);
  if (spec.has_distances(DistanceKind::bias)) {
    return allocated_by_growth(spec.num_layers * spec.num_heads * (2 * reach - 1) * kNumber);
  }
  if (!spec.has_distances(DistanceKind::rotary)) return 0;
  return 2 * allocated_by_growth(reach * (spec.head_dim / 2) * kNumber);
}

void DistanceTables::spread_biases() {
  const int64_t most = spec_.distances->max_distance;
  const int64_t stored = padded(spec_.distances->vectors());
  bias_.resize(static_cast<size_t>(spec_.num_layers * spec_.num_heads * bias_stride()));
  float* to = bias_.data();
  for (const float* layer : biases_) {
    for (int64_t head = 0; head < spec_.num_heads; ++head) {
      const float* const zero = layer + head * stored + most;
      for (int64_t d = 1 - reach_; d < reach_; ++d) *to++ = zero[std::clamp(d, -most, most)];
    }
  }
}

void DistanceTables::compute_angles() {
  const auto size = static_cast<size_t>(reach_ * half());
  cosines_.resize(size);
  sines_.resize(size);
  for (int64_t i = 0; i < half(); ++i) {
    const double frequency =
        std::pow(spec_.distances->theta,
                 -2.0 * static_cast<double>(i) / static_cast<double>(spec_.head_dim));
    for (int64_t position = 0; position < reach_; ++position) {
      const auto place = static_cast<size_t>(position * half() + i);
      cosines_[place] = static_cast<float>(std::cos(static_cast<double>(position) * frequency));
      sines_[place] = static_cast<float>(std::sin(static_cast<double>(position) * frequency));
    }
  }
}

void DistanceTables::rotate(const kernels::Table& kernels, int64_t position, int64_t heads,
                            float* x) const {
  if (!spec_.has_distances(DistanceKind::rotary)) return;
  kernels::RotaryArgs args = {};
  args.heads = heads;
  args.dim = spec_.head_width();
  args.half = half();
  args.cosines = cosines_.data() + position * half();
  args.sines = sines_.data() + position * half();
  args.x = x;
  kernels.rotate(args);
}

int64_t vectors_scratch(const StackSpec& spec, int64_t keys) {
  if (!spec.has_distances(DistanceKind::vectors)) return 0;
  const int64_t rows = std::max(kQueryBlock, spec.num_heads);
  return 2 * rows * padded(keys) + padded(spec.distances->vectors());
}

void attend_with_vectors(const kernels::Table& kernels, kernels::AttentionArgs args,
                         const Distances& vectors, int64_t max_distance, float* scratch) {
  const int64_t width = padded(args.keys);
  const int64_t queries = args.queries;
  float* const scores = scratch;
  float* const weights = scores + kQueryBlock * width;
  float* const sums = weights + kQueryBlock * width;
  float* const record = args.weights;
  kernels::DistanceArgs distance = {args.dim, args.keys, 0, max_distance, nullptr};
  args.bias = scores;
  args.ld_bias = width;
  args.weights = weights;
  const int64_t ld_record = args.ld_weights;
  args.ld_weights = width;
  for (int64_t first = 0; first < queries; first += kQueryBlock) {
    args.queries = std::min(kQueryBlock, queries - first);
    distance.table = vectors.keys;
    for (int64_t i = 0; i < args.queries; ++i) {
      distance.position = first + i;
      kernels.distance_scores(distance, args.q + i * args.ldq, args.scale, scores + i * width);
    }
    kernels.attention(args);
    distance.table = vectors.values;
    for (int64_t i = 0; i < args.queries; ++i) {
      distance.position = first + i;
      kernels.distance_values(distance, weights + i * width, sums, args.out + i * args.ldo);
      if (record != nullptr) {
        std::copy_n(weights + i * width, args.keys, record + (first + i) * ld_record);
      }
    }
    args.q += kQueryBlock * args.ldq;
    args.out += kQueryBlock * args.ldo;
  }
}

void attend_with_vectors(const kernels::Table& kernels, kernels::CachedAttentionArgs args,
                         const Distances& vectors, int64_t max_distance, float* scratch) {
  const int64_t width = padded(args.count);
  float* const scores = scratch;
  float* const weights = scores + args.heads * width;
  float* const sums = weights + args.heads * width;
  kernels::DistanceArgs distance = {args.dim, args.count, args.count - 1, max_distance,
                                    vectors.keys};
  for (int64_t head = 0; head < args.heads; ++head) {
    kernels.distance_scores(distance, args.q + head * args.dim, args.scale, scores + head * width);
  }
  args.bias = scores;
  args.bias_stride = width;
  float* const record = args.weights;
  const int64_t record_stride = args.weights_stride;
  args.weights = weights;
  args.weights_stride = width;
  kernels.attention_cached(args);
  distance.table = vectors.values;
  for (int64_t head = 0; head < args.heads; ++head) {
    kernels.distance_values(distance, weights + head * width, sums, args.out + head * args.dim);
    if (record != nullptr) {
      std::copy_n(weights + head * width, args.count, record + head * record_stride);
    }
  }
}

}  // namespace pytransformer::nn
