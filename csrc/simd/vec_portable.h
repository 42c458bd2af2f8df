// 16 virtual lanes in plain C++ (with the vector extension that GCC and Clang have on every
// processor: four registers of four, or scalars where there are none). This file also says what the
// functions of the other vec_*.h promise; all of them give the same bits, except that `fma` rounds
// twice here.
#pragma once

#include <cstddef>
#include <cstdint>

#include "simd/isa_id.h"

namespace pytransformer::kernels {
namespace {

constexpr simd::Isa kIsa = simd::Isa::portable;
// How many F32x16 the registers hold.
constexpr int kRegisters = 4;

using Floats4 = float __attribute__((vector_size(16)));
using Ints4 = int32_t __attribute__((vector_size(16)));
using UnalignedFloats4 = float __attribute__((vector_size(16), aligned(4), may_alias));

struct F32x16 {
  Floats4 q[4];
};
struct Mask16 {
  Ints4 q[4];
};

// Applies f to each quarter of its arguments.
template <typename Result = F32x16, typename F, typename... Args>
inline Result quarters(F f, Args... args) {
  return {{f(args.q[0]...), f(args.q[1]...), f(args.q[2]...), f(args.q[3]...)}};
}

inline F32x16 load(const float* p) {
  const auto* q = reinterpret_cast<const UnalignedFloats4*>(p);
  return {{q[0], q[1], q[2], q[3]}};
}
inline void store(float* p, F32x16 a) {
  auto* q = reinterpret_cast<UnalignedFloats4*>(p);
  for (int i = 0; i < 4; ++i) q[i] = a.q[i];
}
inline F32x16 broadcast(float a) {
  const Floats4 v = {a, a, a, a};
  return {{v, v, v, v}};
}

// Lanes below n are set; 0 <= n <= 16.
inline Mask16 first_lanes(int64_t n) {
  const int32_t limit = static_cast<int32_t>(n);
  const Ints4 lane = {0, 1, 2, 3};
  return {{lane < limit, lane + 4 < limit, lane + 8 < limit, lane + 12 < limit}};
}
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
inline F32x16 select(Mask16 mask, F32x16 yes, F32x16 no) {
  return quarters([](Ints4 m, Floats4 y, Floats4 n) { return m ? y : n; }, mask, yes, no);
}

inline F32x16 operator+(F32x16 a, F32x16 b) {
  return quarters([](Floats4 x, Floats4 y) { return x + y; }, a, b);
}
inline F32x16 operator-(F32x16 a, F32x16 b) {
  return quarters([](Floats4 x, Floats4 y) { return x - y; }, a, b);
}
inline F32x16 operator*(F32x16 a, F32x16 b) {
  return quarters([](Floats4 x, Floats4 y) { return x * y; }, a, b);
}
inline F32x16 operator/(F32x16 a, F32x16 b) {
  return quarters([](Floats4 x, Floats4 y) { return x / y; }, a, b);
}
// a * b + c, rounded once where the machine can.
inline F32x16 fma(F32x16 a, F32x16 b, F32x16 c) {
  return quarters([](Floats4 x, Floats4 y, Floats4 z) { return x * y + z; }, a, b, c);
}
// b where a or b is NaN, or both are zero.
inline F32x16 max(F32x16 a, F32x16 b) {
  return quarters([](Floats4 x, Floats4 y) { return x > y ? x : y; }, a, b);
}
inline F32x16 min(F32x16 a, F32x16 b) {
  return quarters([](Floats4 x, Floats4 y) { return x < y ? x : y; }, a, b);
}
inline F32x16 abs(F32x16 a) {
  return quarters([](Floats4 x) { return (Floats4)((Ints4)x & 0x7fffffff); }, a);
}
inline F32x16 copysign(F32x16 magnitude, F32x16 sign) {
  return quarters(
      [](Floats4 m, Floats4 s) {
        return (Floats4)(((Ints4)m & 0x7fffffff) | ((Ints4)s & ~0x7fffffff));
      },
      magnitude, sign);
}
// False where a or b is NaN.
inline Mask16 greater(F32x16 a, F32x16 b) {
  return quarters<Mask16>([](Floats4 x, Floats4 y) { return x > y; }, a, b);
}
// True where a or b is NaN.
inline Mask16 not_less(F32x16 a, F32x16 b) {
  return quarters<Mask16>([](Floats4 x, Floats4 y) { return ~(x < y); }, a, b);
}

// 2^(n-1) for biased = n + 1.5 * 2^23, a sum that leaves the integer n in the low bits;
// -126 <= n <= 129 (the ends give zero and infinity).
inline F32x16 half_power_of_two(F32x16 biased) {
  using Unsigneds4 = uint32_t __attribute__((vector_size(16)));
  return quarters([](Floats4 x) { return (Floats4)(((Unsigneds4)x << 23) + (126u << 23)); },
                  biased);
}

// Lane i + lane i + 8, then i + 4, i + 2, i + 1: the tree of every reduction.
inline float sum(F32x16 a) {
  const Floats4 four = (a.q[0] + a.q[2]) + (a.q[1] + a.q[3]);
  return (four[0] + four[2]) + (four[1] + four[3]);
}
inline float maximum(F32x16 a) {
  const auto larger = [](Floats4 x, Floats4 y) { return x > y ? x : y; };
  const Floats4 four = larger(larger(a.q[0], a.q[2]), larger(a.q[1], a.q[3]));
  const float even = four[0] > four[2] ? four[0] : four[2];
  const float odd = four[1] > four[3] ? four[1] : four[3];
  return even > odd ? even : odd;
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

// 16 words of 32 bits: integers, or four int8 or two bfloat16 each (the first one lowest).
struct I32x16 {
  Ints4 q[4];
};

// Tells the compiler that `a` was changed, which it was not; for measuring.
template <typename Vector>
inline void keep_register(Vector& a) {
  __asm__ volatile("" : "+m"(a));
}

inline I32x16 load_words(const void* p) {
  I32x16 a;
  __builtin_memcpy(&a, p, sizeof a);
  return a;
}
inline void store_words(void* p, I32x16 a) { __builtin_memcpy(p, &a, sizeof a); }
inline I32x16 broadcast_word(int32_t a) {
  const Ints4 v = {a, a, a, a};
  return {{v, v, v, v}};
}
inline I32x16 operator+(I32x16 a, I32x16 b) {
  return quarters<I32x16>([](Ints4 x, Ints4 y) { return x + y; }, a, b);
}
inline I32x16 operator-(I32x16 a, I32x16 b) {
  return quarters<I32x16>([](Ints4 x, Ints4 y) { return x - y; }, a, b);
}
inline I32x16 operator&(I32x16 a, I32x16 b) {
  return quarters<I32x16>([](Ints4 x, Ints4 y) { return x & y; }, a, b);
}
template <int kBits>
inline I32x16 shift_left(I32x16 a) {
  using Unsigneds4 = uint32_t __attribute__((vector_size(16)));
  return quarters<I32x16>([](Ints4 x) { return (Ints4)((Unsigneds4)x << kBits); }, a);
}
// Fills with zeros.
template <int kBits>
inline I32x16 shift_right(I32x16 a) {
  using Unsigneds4 = uint32_t __attribute__((vector_size(16)));
  return quarters<I32x16>([](Ints4 x) { return (Ints4)((Unsigneds4)x >> kBits); }, a);
}
inline F32x16 to_float(I32x16 a) {
  return quarters([](Ints4 x) { return __builtin_convertvector(x, Floats4); }, a);
}
// The bits as they are.
inline I32x16 image_of(F32x16 a) {
  return quarters<I32x16>([](Floats4 x) { return (Ints4)x; }, a);
}
inline F32x16 from_image(I32x16 a) {
  return quarters([](Ints4 x) { return (Floats4)x; }, a);
}
inline int32_t sum(I32x16 a) {
  const Ints4 four = (a.q[0] + a.q[2]) + (a.q[1] + a.q[3]);
  return (four[0] + four[2]) + (four[1] + four[3]);
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
