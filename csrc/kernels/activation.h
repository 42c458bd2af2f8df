// The activations of feed-forward layers.
#pragma once

#include "kernels/elementary.h"

namespace pytransformer::kernels {
namespace {

inline F32x16 relu(F32x16 x) { return max(broadcast(0.0f), x); }

// x Phi(x), with the normal distribution from erf (Hendrycks and Gimpel 2016).
inline F32x16 gelu(F32x16 x) {
  const F32x16 half = broadcast(0.5f) * x;
  return fma(half, erf(x * broadcast(0.707106781f)), half);
}

// Their approximation of it with tanh.
inline F32x16 gelu_tanh(F32x16 x) {
  const F32x16 half = broadcast(0.5f) * x;
  const F32x16 cubic = fma(x * x * broadcast(0.044715f), x, x);
  return fma(half, tanh(cubic * broadcast(0.797884561f)), half);
}

inline F32x16 sigmoid(F32x16 x) {
  return broadcast(1.0f) / (broadcast(1.0f) + exp(broadcast(0.0f) - x));
}

// Their approximation of it with the logistic function.
inline F32x16 gelu_sigmoid(F32x16 x) { return x / (broadcast(1.0f) + exp(x * broadcast(-1.702f))); }

inline F32x16 silu(F32x16 x) { return x / (broadcast(1.0f) + exp(broadcast(0.0f) - x)); }

void activate(Activation activation, float* x, int64_t count) {
  switch (activation) {
    case Activation::none:
      return;
    case Activation::relu:
      return apply<relu>(x, count);
    case Activation::gelu:
      return apply<gelu>(x, count);
    case Activation::gelu_tanh:
      return apply<gelu_tanh>(x, count);
    case Activation::gelu_sigmoid:
      return apply<gelu_sigmoid>(x, count);
    case Activation::silu:
      return apply<silu>(x, count);
    case Activation::tanh:
      return apply<tanh>(x, count);
  }
}

}  // namespace
}  // namespace pytransformer::kernels
