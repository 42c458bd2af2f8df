// 16 virtual lanes in four NEON registers, with and without the instructions for dot products of
// int8. See vec_quarters.h and vec_portable.h for what each function promises.
#pragma once

#include <arm_neon.h>

#include "simd/vec_quarters.h"

namespace pytransformer::kernels {
namespace {

#ifdef __ARM_FEATURE_DOTPROD
constexpr simd::Isa kIsa = simd::Isa::neon_dotprod;
#else
constexpr simd::Isa kIsa = simd::Isa::neon;
#endif
constexpr int kRegisters = 8;
constexpr int kDotRegisters = 1;

inline F32x16 fma(F32x16 a, F32x16 b, F32x16 c) {
  return quarters([](Floats4 x, Floats4 y, Floats4 z) { return vfmaq_f32(z, x, y); }, a, b, c);
}

// The instruction takes the first element of a register for all lanes.
struct Factor {
  float32x4_t v;
};
inline Factor factor(float a) { return {float32x4_t{a, 0, 0, 0}}; }
inline F32x16 fma(Factor a, F32x16 b, F32x16 c) {
  return quarters([a](Floats4 x, Floats4 y) { return vfmaq_laneq_f32(y, x, a.v, 0); }, b, c);
}

// The lowest 16 or 8 bits of each word.
inline uint16x8_t low_halves(Ints4 a, Ints4 b) { return vuzp1q_u16((uint16x8_t)a, (uint16x8_t)b); }
inline uint8x16_t low_bytes(const Ints4 (&q)[4]) {
  return vuzp1q_u8((uint8x16_t)low_halves(q[0], q[1]), (uint8x16_t)low_halves(q[2], q[3]));
}

inline uint32_t bits(Mask16 mask) {
  const uint8x16_t places = {1, 2, 4, 8, 16, 32, 64, 128, 1, 2, 4, 8, 16, 32, 64, 128};
  const uint8x16_t set = low_bytes(mask.q) & places;
  return static_cast<uint32_t>(vaddv_u8(vget_low_u8(set))) |
         static_cast<uint32_t>(vaddv_u8(vget_high_u8(set))) << 8;
}

inline Floats4 load_some(const float* p, int64_t n) {
  if (n >= 4) return vld1q_f32(p);
  float32x4_t a = {};
  if (n > 0) a = vld1q_lane_f32(p, a, 0);
  if (n > 1) a = vld1q_lane_f32(p + 1, a, 1);
  if (n > 2) a = vld1q_lane_f32(p + 2, a, 2);
  return a;
}
inline F32x16 load_partial(const float* p, int64_t n) {
  return {{load_some(p, n), load_some(p + 4, n - 4), load_some(p + 8, n - 8),
           load_some(p + 12, n - 12)}};
}
inline void store_some(float* p, Floats4 a, int64_t n) {
  if (n >= 4) return vst1q_f32(p, a);
  if (n > 0) vst1q_lane_f32(p, a, 0);
  if (n > 1) vst1q_lane_f32(p + 1, a, 1);
  if (n > 2) vst1q_lane_f32(p + 2, a, 2);
}
inline void store_partial(float* p, F32x16 a, int64_t n) {
  for (int i = 0; i < 4; ++i) store_some(p + 4 * i, a.q[i], n - 4 * i);
}

// The lower halves of two registers, and the upper ones.
inline Floats4 lower_halves(Floats4 a, Floats4 b) {
  return vreinterpretq_f32_f64(vtrn1q_f64(vreinterpretq_f64_f32(a), vreinterpretq_f64_f32(b)));
}
inline Floats4 upper_halves(Floats4 a, Floats4 b) {
  return vreinterpretq_f32_f64(vtrn2q_f64(vreinterpretq_f64_f32(a), vreinterpretq_f64_f32(b)));
}

inline Floats4 fold_four(F32x16 a) { return (a.q[0] + a.q[2]) + (a.q[1] + a.q[3]); }
inline Floats4 fold_two(Floats4 x, Floats4 y) { return lower_halves(x, y) + upper_halves(x, y); }
inline Floats4 sums_of_four(const F32x16* a) {
  return vpaddq_f32(fold_two(fold_four(a[0]), fold_four(a[1])),
                    fold_two(fold_four(a[2]), fold_four(a[3])));
}
inline F32x16 sums(const F32x16 (&a)[16]) {
  return {{sums_of_four(a), sums_of_four(a + 4), sums_of_four(a + 8), sums_of_four(a + 12)}};
}

struct Square {
  Floats4 row[4];
};
// Quarter q of four vectors, transposed.
inline Square transposed(const F32x16* a, int q) {
  const Floats4 even01 = vtrn1q_f32(a[0].q[q], a[1].q[q]);
  const Floats4 odd01 = vtrn2q_f32(a[0].q[q], a[1].q[q]);
  const Floats4 even23 = vtrn1q_f32(a[2].q[q], a[3].q[q]);
  const Floats4 odd23 = vtrn2q_f32(a[2].q[q], a[3].q[q]);
  return {{lower_halves(even01, even23), lower_halves(odd01, odd23), upper_halves(even01, even23),
           upper_halves(odd01, odd23)}};
}
inline void transpose(F32x16 (&a)[16]) {
  for (int i = 0; i < 4; ++i) {
    for (int j = 0; j <= i; ++j) {
      const Square lower = transposed(a + 4 * i, j);
      const Square upper = transposed(a + 4 * j, i);
      for (int r = 0; r < 4; ++r) {
        a[4 * i + r].q[j] = upper.row[r];
        a[4 * j + r].q[i] = lower.row[r];
      }
    }
  }
}

template <typename Vector>
inline void keep_register(Vector& a) {
  __asm__ volatile("" : "+w"(a.q[0]), "+w"(a.q[1]), "+w"(a.q[2]), "+w"(a.q[3]));
}

inline I32x16 load_halves(const void* p) {
  const auto* const q = static_cast<const uint16_t*>(p);
  const auto widened = [q](int i) { return (Ints4)vmovl_u16(vld1_u16(q + 4 * i)); };
  return {{widened(0), widened(1), widened(2), widened(3)}};
}
inline void store_halves(void* p, I32x16 a) {
  auto* const q = static_cast<uint16_t*>(p);
  vst1q_u16(q, low_halves(a.q[0], a.q[1]));
  vst1q_u16(q + 8, low_halves(a.q[2], a.q[3]));
}
inline void store_bytes(void* p, I32x16 a) { vst1q_u8(static_cast<uint8_t*>(p), low_bytes(a.q)); }

constexpr int32_t kByteBias = 0;
inline I32x16 byte_weights(I32x16 w) { return w; }

inline int32_t load_int32(const void* p) {
  int32_t word;
  __builtin_memcpy(&word, p, sizeof word);
  return word;
}

#ifdef __ARM_FEATURE_DOTPROD

// As with Factor: the first word is the one for all lanes.
struct Bytes {
  int32x2_t words;
};
inline Bytes broadcast_bytes(const void* p) { return {int32x2_t{load_int32(p), 0}}; }
inline I32x16 dot(I32x16 total, Bytes a, I32x16 w) {
  return quarters<I32x16>(
      [a](Ints4 sum, Ints4 x) {
        return (Ints4)vdotq_lane_s32(sum, (int8x16_t)x, vreinterpret_s8_s32(a.words), 0);
      },
      total, w);
}
using NibbleSum = I32x16;
inline NibbleSum dot_nibbles(NibbleSum total, Bytes a, I32x16 w) { return dot(total, a, w); }
inline I32x16 widen(NibbleSum a) { return a; }

#else

struct Bytes {
  int8x16_t value;
};
inline Bytes broadcast_bytes(const void* p) {
  return {vreinterpretq_s8_s32(vdupq_n_s32(load_int32(p)))};
}
// Two products of 127 * 127 fit 16 bits.
inline I32x16 dot(I32x16 total, Bytes a, I32x16 w) {
  return quarters<I32x16>(
      [a](Ints4 sum, Ints4 x) {
        const auto bytes = (int8x16_t)x;
        const int16x8_t low = vmull_s8(vget_low_s8(bytes), vget_low_s8(a.value));
        return (Ints4)vpadalq_s16(sum, vpaddq_s16(low, vmull_high_s8(bytes, a.value)));
      },
      total, w);
}

// Lanes of 16 bits for each byte: eight sums of 15 * 127 fit, and twice that.
struct NibbleSum {
  int16x8_t low[4];
  int16x8_t high[4];
};
inline NibbleSum dot_nibbles(NibbleSum total, Bytes a, I32x16 w) {
#pragma GCC unroll 4
  for (int i = 0; i < 4; ++i) {
    const auto bytes = (int8x16_t)w.q[i];
    total.low[i] = vmlal_s8(total.low[i], vget_low_s8(bytes), vget_low_s8(a.value));
    total.high[i] = vmlal_high_s8(total.high[i], bytes, a.value);
  }
  return total;
}
inline I32x16 widen(NibbleSum a) {
  const auto pairs = [&a](int i) { return (Ints4)vpaddlq_s16(vpaddq_s16(a.low[i], a.high[i])); };
  return {{pairs(0), pairs(1), pairs(2), pairs(3)}};
}

#endif

}  // namespace
}  // namespace pytransformer::kernels
