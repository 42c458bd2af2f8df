// softmax(x) = exp(x - max(x)) / sum(exp(x - max(x))).
#pragma once

#include "kernels/elementary.h"

namespace pytransformer::kernels {
namespace {

constexpr float kInfinity = __builtin_inff();

// 16 numbers of a row from column i on; lanes behind its end are `fill`.
inline F32x16 load_columns(const float* row, int64_t i, int64_t columns, float fill) {
  const int64_t left = columns - i;
  if (left >= kLanes) return load(row + i);
  return select(first_lanes(left), load_partial(row + i, left), broadcast(fill));
}

// softmax(x * scale + bias) of one row; `bias` may be null. Each exponential is multiplied by the
// reciprocal of the sum, which costs up to 1 ulp against a division.
inline void softmax_row(float* row, int64_t columns, float scale, const float* bias = nullptr) {
  F32x16 largest = broadcast(-kInfinity);
  for (int64_t i = 0; i < columns; i += kLanes) {
    F32x16 scaled = load_columns(row, i, columns, -kInfinity) * broadcast(scale);
    if (bias != nullptr) scaled = scaled + load_columns(bias, i, columns, 0.0f);
    store(row + i, scaled);
    largest = max(scaled, largest);
  }
  const F32x16 top = broadcast(maximum(largest));
  F32x16 total = broadcast(0.0f);
  for (int64_t i = 0; i < columns; i += kLanes) {
    const F32x16 e = exp(load_columns(row, i, columns, -kInfinity) - top);
    store(row + i, e);
    total = total + e;
  }
  const F32x16 factor = broadcast(1.0f / sum(total));
  for (int64_t i = 0; i < columns; i += kLanes) store(row + i, load(row + i) * factor);
}

void softmax(float* x, int64_t rows, int64_t columns, int64_t ld) {
  for (int64_t r = 0; r < rows; ++r) softmax_row(x + r * ld, columns, 1.0f);
}

}  // namespace
}  // namespace pytransformer::kernels
