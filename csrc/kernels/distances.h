// What self-attention knows of the distance between a query and its keys.
#pragma once

#include "kernels/softmax.h"

namespace pytransformer::kernels {
namespace {

// The row of the table that belongs to a key.
inline int64_t distance_row(const DistanceArgs& args, int64_t key) {
  const int64_t distance = key - args.position;
  const int64_t near = distance < -args.most ? -args.most : distance;
  return (near > args.most ? args.most : near) + args.most;
}

inline float dot_product(const float* a, const float* b, int64_t count) {
  F32x16 total = broadcast(0.0f);
  for (int64_t i = 0; i < count; i += kLanes) total = fma(load(a + i), load(b + i), total);
  return sum(total);
}

void distance_scores(const DistanceArgs& args, const float* q, float scale, float* out) {
  int64_t last = -1;
  for (int64_t i = 0; i < args.count; ++i) {
    const int64_t row = distance_row(args, i);
    // Far keys share a vector.
    out[i] =
        row == last ? out[i - 1] : scale * dot_product(q, args.table + row * args.dim, args.dim);
    last = row;
  }
}

void distance_values(const DistanceArgs& args, const float* weights, float* scratch, float* out) {
  const int64_t first = distance_row(args, 0);
  const int64_t last = distance_row(args, args.count - 1);
  for (int64_t row = first; row <= last; ++row) scratch[row] = 0.0f;
  for (int64_t i = 0; i < args.count; ++i) scratch[distance_row(args, i)] += weights[i];
  for (int64_t d = 0; d < args.dim; d += kLanes) {
    F32x16 total = load(out + d);
    for (int64_t row = first; row <= last; ++row) {
      total = fma(broadcast(scratch[row]), load(args.table + row * args.dim + d), total);
    }
    store(out + d, total);
  }
}

void rotate(const RotaryArgs& args) {
  for (int64_t head = 0; head < args.heads; ++head) {
    float* const x = args.x + head * args.dim;
    for (int64_t i = 0; i < args.half; ++i) {
      const float a = x[i];
      const float b = x[i + args.half];
      x[i] = a * args.cosines[i] - b * args.sines[i];
      x[i + args.half] = b * args.cosines[i] + a * args.sines[i];
    }
  }
}

}  // namespace
}  // namespace pytransformer::kernels
