// 16 virtual lanes in four registers of 16 bytes, in the vector extension that GCC and Clang have
// on every processor (scalars where there are no registers): what instruction sets of that width
// have in common. This file and, for the rest, vec_portable.h also say what the functions of the
// other vec_*.h promise; all give the same bits, but `fma` rounds twice in vec_portable.h.
#pragma once

#include <cstddef>
#include <cstdint>

#include "simd/isa_id.h"

namespace pytransformer::kernels {
namespace {

using Floats4 = float __attribute__((vector_size(16)));
using Ints4 = int32_t __attribute__((vector_size(16)));
using UnalignedInts4 = int32_t __attribute__((vector_size(16), aligned(4), may_alias));
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
// 16 words of 32 bits: integers, or four int8 or two bfloat16 each (the first one lowest).
struct I32x16 {
  Ints4 q[4];
};

inline I32x16 load_words(const void* p) {
  const auto* const q = static_cast<const UnalignedInts4*>(p);
  return {{q[0], q[1], q[2], q[3]}};
}
inline void store_words(void* p, I32x16 a) {
  auto* const q = static_cast<UnalignedInts4*>(p);
  for (int i = 0; i < 4; ++i) q[i] = a.q[i];
}
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
}  // namespace
}  // namespace pytransformer::kernels
