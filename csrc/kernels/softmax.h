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

// The sum of exp(x - largest) by lanes; the exponentials are written to `out` unless it is null.
inline F32x16 exp_sums(const float* row, int64_t columns, F32x16 largest, float* out) {
  F32x16 total = broadcast(0.0f);
  int64_t i = 0;
  for (; i + kLanes <= columns; i += kLanes) {
    const F32x16 e = exp(load(row + i) - largest);
    if (out != nullptr) store(out + i, e);
    total = total + e;
  }
  if (i == columns) return total;
  const F32x16 e = exp(load_columns(row, i, columns, -kInfinity) - largest);
  if (out != nullptr) store(out + i, e);
  return total + e;
}

// softmax(x * scale) of one row. Each exponential is multiplied by the reciprocal of the sum, which
// costs up to 1 ulp against a division.
inline void softmax_row(float* row, int64_t columns, float scale) {
  F32x16 largest = broadcast(-kInfinity);
  for (int64_t i = 0; i < columns; i += kLanes) {
    const F32x16 scaled = load_columns(row, i, columns, -kInfinity) * broadcast(scale);
    store(row + i, scaled);
    largest = max(scaled, largest);
  }
  const F32x16 total = exp_sums(row, columns, broadcast(maximum(largest)), row);
  const F32x16 factor = broadcast(1.0f / sum(total));
  for (int64_t i = 0; i < columns; i += kLanes) store(row + i, load(row + i) * factor);
}

void softmax(float* x, int64_t rows, int64_t columns, int64_t ld) {
  for (int64_t r = 0; r < rows; ++r) softmax_row(x + r * ld, columns, 1.0f);
}

}  // namespace
}  // namespace pytransformer::kernels
