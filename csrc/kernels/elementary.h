// exp, tanh and erf on 16 lanes: polynomials of our own (weighted minimax fits of the ranges named
// below), so that every instruction set with fused multiply-add gives the same bits. NaN stays NaN.
#pragma once

#include "kernels/kernels.h"

namespace pytransformer::kernels {
namespace {

// c[0] + c[1] x + …, from the highest power down.
template <int kCount>
inline F32x16 polynomial(F32x16 x, const float (&c)[kCount]) {
  F32x16 result = broadcast(c[kCount - 1]);
#pragma GCC unroll 16
  for (int i = kCount - 2; i >= 0; --i) result = fma(result, x, broadcast(c[i]));
  return result;
}

// Within 1 ulp. Results below 2^-125.5 are zero, those above the largest float infinite.
inline F32x16 exp(F32x16 x) {
  // exp(x) = 2^n exp(r) with |r| <= ln(2) / 2. Adding 1.5 * 2^23 rounds to the integer n and leaves
  // it in the low bits. The bounds keep n within what half_power_of_two takes.
  const F32x16 bounded = min(broadcast(89.5f), max(broadcast(-87.5f), x));
  const F32x16 shift = broadcast(12582912.0f);
  const F32x16 biased = fma(bounded, broadcast(1.44269504f), shift);
  const F32x16 n = biased - shift;
  // ln(2) in two parts; n times the first one is exact.
  const F32x16 coarse = fma(n, broadcast(-0.693359375f), bounded);
  const F32x16 r = fma(n, broadcast(2.12194440e-4f), coarse);
  constexpr float kTail[] = {0.49999994f, 0.166665211f, 0.041668281f, 0.0083686905f,
                             0.00138194906f};
  const F32x16 mantissa = fma(polynomial(r, kTail), r * r, r) + broadcast(1.0f);
  const F32x16 half = mantissa * half_power_of_two(biased);
  return half + half;
}

// Within 2 ulp.
inline F32x16 tanh(F32x16 x) {
  constexpr float kTail[] = {-0.333332807f, 0.133314058f, -0.0537365153f, 0.0206281673f,
                             -0.00569229666f};
  const F32x16 size = abs(x);
  const F32x16 square = x * x;
  const F32x16 near_zero = fma(polynomial(square, kTail) * square, size, size);
  // From 9.02 on the nearest float is 1.
  const F32x16 bounded = min(broadcast(10.0f), size);
  const F32x16 one = broadcast(1.0f);
  const F32x16 far = one - broadcast(2.0f) / (exp(bounded + bounded) + one);
  return copysign(select(greater(size, broadcast(0.625f)), far, near_zero), x);
}

// Within 2 ulp.
inline F32x16 erf(F32x16 x) {
  constexpr float kNear[] = {0.128379166f,   -0.376126289f,    0.112836257f,   -0.026855737f,
                             0.00519243814f, -0.000805038435f, 8.00027919e-05f};
  // erf(x) = 1 - exp(-x f(x)) for x > 0.9375.
  constexpr float kFar[] = {1.12865853f,    0.635110736f,     0.106303662f,   -0.0238193125f,
                            0.00366940117f, -0.000329400267f, 1.18875087e-05f};
  const F32x16 size = abs(x);
  const F32x16 near_zero = fma(polynomial(x * x, kNear), size, size);
  // From 3.92 on the nearest float is 1.
  const F32x16 bounded = min(broadcast(4.0f), size);
  const F32x16 exponent = polynomial(bounded, kFar) * bounded;
  const F32x16 far = broadcast(1.0f) - exp(broadcast(0.0f) - exponent);
  return copysign(select(greater(size, broadcast(0.9375f)), far, near_zero), x);
}

// Natural logarithm of a positive finite number, in double precision to 1e-11.
inline double log(double x) {
  constexpr uint64_t kMantissa = (uint64_t{1} << 52) - 1;
  const uint64_t image = __builtin_bit_cast(uint64_t, x);
  int64_t exponent = static_cast<int64_t>(image >> 52) - 1023;
  double m = __builtin_bit_cast(double, (image & kMantissa) | uint64_t{1023} << 52);
  if (m > 1.4142135623730951) {
    m *= 0.5;
    ++exponent;
  }
  // log(m) = 2 atanh(s), |s| < 0.172.
  const double s = (m - 1.0) / (m + 1.0);
  const double square = s * s;
  double series = 0.0;
  for (int n = 15; n >= 1; n -= 2) series = series * square + 1.0 / n;
  return static_cast<double>(exponent) * 0.69314718055994531 + 2.0 * s * series;
}

template <F32x16 (*kFunction)(F32x16)>
void apply(float* x, int64_t count) {
  for (int64_t i = 0; i < count; i += kLanes) store(x + i, kFunction(load(x + i)));
}

}  // namespace
}  // namespace pytransformer::kernels
