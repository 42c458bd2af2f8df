// 16 virtual lanes in plain C++. See vec_quarters.h.
#pragma once

#include "simd/vec_quarters.h"

namespace pytransformer::kernels {
namespace {

constexpr simd::Isa kIsa = simd::Isa::portable;
// How many F32x16 the registers hold.
constexpr int kRegisters = 4;
// How many of these dot() fills beside sums and weights.
constexpr int kDotRegisters = 1;

// a * b + c, rounded once where the machine can.
inline F32x16 fma(F32x16 a, F32x16 b, F32x16 c) {
  return quarters([](Floats4 x, Floats4 y, Floats4 z) { return x * y + z; }, a, b, c);
}
// One number that fma() multiplies all lanes by, as the product's instruction takes it.
using Factor = F32x16;
inline Factor factor(float a) { return broadcast(a); }

// Bit i: lane i.
inline uint32_t bits(Mask16 mask) {
  uint32_t result = 0;
  for (int i = 0; i < 16; ++i) result |= (mask.q[i / 4][i % 4] != 0 ? 1u : 0u) << i;
  return result;
}
// The first n lanes from p, of which nothing else is read; the others are zero.
inline F32x16 load_partial(const float* p, int64_t n) {
  F32x16 result = {};
  for (int i = 0; i < n; ++i) result.q[i / 4][i % 4] = p[i];
  return result;
}
// Writes the first n lanes and nothing else.
inline void store_partial(float* p, F32x16 a, int64_t n) {
  for (int i = 0; i < n; ++i) p[i] = a.q[i / 4][i % 4];
}
// Lane i: sum(a[i]).
inline F32x16 sums(const F32x16 (&a)[16]) {
  F32x16 result = {};
  for (int i = 0; i < 16; ++i) result.q[i / 4][i % 4] = sum(a[i]);
  return result;
}

// Lane j of a[i] becomes lane i of a[j].
inline void transpose(F32x16 (&a)[16]) {
  for (int i = 0; i < 16; ++i) {
    for (int j = 0; j < i; ++j) {
      const float upper = a[j].q[i / 4][i % 4];
      a[j].q[i / 4][i % 4] = a[i].q[j / 4][j % 4];
      a[i].q[j / 4][j % 4] = upper;
    }
  }
}

// Tells the compiler that `a` was changed, which it was not; for measuring.
template <typename Vector>
inline void keep_register(Vector& a) {
  __asm__ volatile("" : "+m"(a));
}

// 16 words from 16 numbers of 16 bits, filled with zeros.
inline I32x16 load_halves(const void* p) {
  uint16_t halves[16];
  __builtin_memcpy(halves, p, sizeof halves);
  I32x16 result = {};
  for (int i = 0; i < 16; ++i) result.q[i / 4][i % 4] = halves[i];
  return result;
}
// The lowest 16 or 8 bits of each word.
inline void store_halves(void* p, I32x16 a) {
  uint16_t halves[16];
  for (int i = 0; i < 16; ++i) halves[i] = static_cast<uint16_t>(a.q[i / 4][i % 4]);
  __builtin_memcpy(p, halves, sizeof halves);
}
inline void store_bytes(void* p, I32x16 a) {
  uint8_t bytes[16];
  for (int i = 0; i < 16; ++i) bytes[i] = static_cast<uint8_t>(a.q[i / 4][i % 4]);
  __builtin_memcpy(p, bytes, sizeof bytes);
}

// Four int8 of one row of activations, for products with weights in words: sum + a . w, exact.
struct Bytes {
  int8_t value[4];
};
// What dot() adds for each unit of a row's sum, to be taken off in the end.
constexpr int32_t kByteBias = 0;

inline Bytes broadcast_bytes(const void* p) {
  Bytes a;
  __builtin_memcpy(&a, p, sizeof a);
  return a;
}
// Weights in -127 … 127 as dot() takes them.
inline I32x16 byte_weights(I32x16 w) { return w; }
inline I32x16 dot(I32x16 total, Bytes a, I32x16 w) {
  int8_t weights[16][4];
  __builtin_memcpy(weights, &w, sizeof weights);
  for (int i = 0; i < 16; ++i) {
    for (int j = 0; j < 4; ++j) total.q[i / 4][i % 4] += a.value[j] * weights[i][j];
  }
  return total;
}
// The same with weights in 0 … 15, in a type that holds eight of such sums.
using NibbleSum = I32x16;
inline NibbleSum dot_nibbles(NibbleSum total, Bytes a, I32x16 w) { return dot(total, a, w); }
inline I32x16 widen(NibbleSum a) { return a; }

}  // namespace
}  // namespace pytransformer::kernels
