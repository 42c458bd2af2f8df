// y = (x - mean(x)) / sqrt(var(x) + epsilon) * weight + bias, over the columns of each row, and its
// relatives.
#pragma once

#include "kernels/softmax.h"

namespace pytransformer::kernels {
namespace {

// The variance is taken of (x - mean), in a second pass: the difference of the mean of squares and
// the squared mean loses all digits where the mean is large.
inline void layer_norm_row(const LayerNormArgs& args, const float* x, float* y) {
  const int64_t columns = args.columns;
  const float count = static_cast<float>(columns);

  float mean = 0.0f;
  if (args.kind != Norm::rms) {
    F32x16 total = broadcast(0.0f);
    for (int64_t i = 0; i < columns; i += kLanes) {
      total = total + load_columns(x, i, columns, 0.0f);
    }
    mean = sum(total) / count;
  }

  F32x16 squares = broadcast(0.0f);
  for (int64_t i = 0; i < columns; i += kLanes) {
    const F32x16 centred = load_columns(x, i, columns, mean) - broadcast(mean);
    squares = fma(centred, centred, squares);
  }
  const float factor = args.kind == Norm::deviation
                           ? 1.0f / (__builtin_sqrtf(sum(squares) / (count - 1.0f)) + args.epsilon)
                           : 1.0f / __builtin_sqrtf(sum(squares) / count + args.epsilon);

  // Behind the end weight and bias are zero, so y becomes zero.
  for (int64_t i = 0; i < columns; i += kLanes) {
    const F32x16 centred = load_columns(x, i, columns, mean) - broadcast(mean);
    const F32x16 normal = centred * broadcast(factor);
    store(y + i, fma(normal, load(args.weight + i), load(args.bias + i)));
  }
}

void layer_norm(const LayerNormArgs& args) {
  for (int64_t r = 0; r < args.rows; ++r) {
    layer_norm_row(args, args.x + r * args.ldx, args.y + r * args.ldy);
  }
}

}  // namespace
}  // namespace pytransformer::kernels
