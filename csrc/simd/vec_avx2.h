// 16 virtual lanes in two AVX registers. See vec_quarters.h and vec_portable.h for what each
// function promises.
#pragma once

#include <immintrin.h>

#include <cstddef>
#include <cstdint>

#include "simd/isa_id.h"

namespace pytransformer::kernels {
namespace {

constexpr simd::Isa kIsa = simd::Isa::avx2;
constexpr int kRegisters = 8;
constexpr int kDotRegisters = 3;

struct F32x16 {
  __m256 low;
  __m256 high;
};
struct Mask16 {
  __m256 low;
  __m256 high;
};

inline F32x16 load(const float* p) { return {_mm256_loadu_ps(p), _mm256_loadu_ps(p + 8)}; }
inline void store(float* p, F32x16 a) {
  _mm256_storeu_ps(p, a.low);
  _mm256_storeu_ps(p + 8, a.high);
}
inline F32x16 broadcast(float a) { return {_mm256_set1_ps(a), _mm256_set1_ps(a)}; }

inline Mask16 first_lanes(int64_t n) {
  const __m256i limit = _mm256_set1_epi32(static_cast<int32_t>(n));
  const __m256i lane = _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7);
  const __m256i upper_lane = _mm256_add_epi32(lane, _mm256_set1_epi32(8));
  return {_mm256_castsi256_ps(_mm256_cmpgt_epi32(limit, lane)),
          _mm256_castsi256_ps(_mm256_cmpgt_epi32(limit, upper_lane))};
}
inline uint32_t bits(Mask16 mask) {
  return static_cast<uint32_t>(_mm256_movemask_ps(mask.low)) |
         static_cast<uint32_t>(_mm256_movemask_ps(mask.high)) << 8;
}
inline F32x16 load_partial(const float* p, int64_t n) {
  const Mask16 mask = first_lanes(n);
  return {_mm256_maskload_ps(p, _mm256_castps_si256(mask.low)),
          _mm256_maskload_ps(p + 8, _mm256_castps_si256(mask.high))};
}
inline void store_partial(float* p, F32x16 a, int64_t n) {
  const Mask16 mask = first_lanes(n);
  _mm256_maskstore_ps(p, _mm256_castps_si256(mask.low), a.low);
  _mm256_maskstore_ps(p + 8, _mm256_castps_si256(mask.high), a.high);
}
inline F32x16 select(Mask16 mask, F32x16 yes, F32x16 no) {
  return {_mm256_blendv_ps(no.low, yes.low, mask.low),
          _mm256_blendv_ps(no.high, yes.high, mask.high)};
}

inline F32x16 operator+(F32x16 a, F32x16 b) {
  return {_mm256_add_ps(a.low, b.low), _mm256_add_ps(a.high, b.high)};
}
inline F32x16 operator-(F32x16 a, F32x16 b) {
  return {_mm256_sub_ps(a.low, b.low), _mm256_sub_ps(a.high, b.high)};
}
inline F32x16 operator*(F32x16 a, F32x16 b) {
  return {_mm256_mul_ps(a.low, b.low), _mm256_mul_ps(a.high, b.high)};
}
inline F32x16 operator/(F32x16 a, F32x16 b) {
  return {_mm256_div_ps(a.low, b.low), _mm256_div_ps(a.high, b.high)};
}
inline F32x16 fma(F32x16 a, F32x16 b, F32x16 c) {
  return {_mm256_fmadd_ps(a.low, b.low, c.low), _mm256_fmadd_ps(a.high, b.high, c.high)};
}
using Factor = F32x16;
inline Factor factor(float a) { return broadcast(a); }
inline F32x16 max(F32x16 a, F32x16 b) {
  return {_mm256_max_ps(a.low, b.low), _mm256_max_ps(a.high, b.high)};
}
inline F32x16 min(F32x16 a, F32x16 b) {
  return {_mm256_min_ps(a.low, b.low), _mm256_min_ps(a.high, b.high)};
}
inline F32x16 abs(F32x16 a) {
  const __m256 sign_bit = _mm256_set1_ps(-0.0f);
  return {_mm256_andnot_ps(sign_bit, a.low), _mm256_andnot_ps(sign_bit, a.high)};
}
inline __m256 copysign(__m256 magnitude, __m256 sign) {
  const __m256 sign_bit = _mm256_set1_ps(-0.0f);
  return _mm256_or_ps(_mm256_andnot_ps(sign_bit, magnitude), _mm256_and_ps(sign_bit, sign));
}
inline F32x16 copysign(F32x16 magnitude, F32x16 sign) {
  return {copysign(magnitude.low, sign.low), copysign(magnitude.high, sign.high)};
}
inline Mask16 greater(F32x16 a, F32x16 b) {
  return {_mm256_cmp_ps(a.low, b.low, _CMP_GT_OQ), _mm256_cmp_ps(a.high, b.high, _CMP_GT_OQ)};
}
inline Mask16 not_less(F32x16 a, F32x16 b) {
  return {_mm256_cmp_ps(a.low, b.low, _CMP_NLT_UQ), _mm256_cmp_ps(a.high, b.high, _CMP_NLT_UQ)};
}

inline __m256 half_power_of_two(__m256 biased) {
  const __m256i exponent = _mm256_slli_epi32(_mm256_castps_si256(biased), 23);
  return _mm256_castsi256_ps(_mm256_add_epi32(exponent, _mm256_set1_epi32(126 << 23)));
}
inline F32x16 half_power_of_two(F32x16 biased) {
  return {half_power_of_two(biased.low), half_power_of_two(biased.high)};
}

inline float sum(F32x16 a) {
  const __m256 eight = _mm256_add_ps(a.low, a.high);
  const __m128 four = _mm_add_ps(_mm256_castps256_ps128(eight), _mm256_extractf128_ps(eight, 1));
  const __m128 two = _mm_add_ps(four, _mm_movehl_ps(four, four));
  return _mm_cvtss_f32(_mm_add_ss(two, _mm_movehdup_ps(two)));
}

inline float maximum(F32x16 a) {
  const __m256 eight = _mm256_max_ps(a.low, a.high);
  const __m128 four = _mm_max_ps(_mm256_castps256_ps128(eight), _mm256_extractf128_ps(eight, 1));
  const __m128 two = _mm_max_ps(four, _mm_movehl_ps(four, four));
  return _mm_cvtss_f32(_mm_max_ss(two, _mm_movehdup_ps(two)));
}

// Halves: the four remaining sums of a[0] and of a[4].
inline __m256 fold_four(const F32x16* a) {
  const __m256 x = _mm256_add_ps(a[0].low, a[0].high);
  const __m256 y = _mm256_add_ps(a[4].low, a[4].high);
  return _mm256_add_ps(_mm256_permute2f128_ps(x, y, 0x20), _mm256_permute2f128_ps(x, y, 0x31));
}
inline __m256 fold_two(__m256 x, __m256 y) {
  return _mm256_add_ps(_mm256_shuffle_ps(x, y, 0x44), _mm256_shuffle_ps(x, y, 0xee));
}
inline __m256 sums_of_eight(const F32x16* a) {
  const __m256 x = fold_two(fold_four(a), fold_four(a + 1));
  const __m256 y = fold_two(fold_four(a + 2), fold_four(a + 3));
  return _mm256_add_ps(_mm256_shuffle_ps(x, y, 0x88), _mm256_shuffle_ps(x, y, 0xdd));
}
inline F32x16 sums(const F32x16 (&a)[16]) { return {sums_of_eight(a), sums_of_eight(a + 8)}; }

inline void transpose_eight(__m256 (&a)[8]) {
  // Half h of x[4 g + i]: column 4 h + i of rows 4 g … 4 g + 3.
  __m256 x[8];
#pragma GCC unroll 2
  for (int g = 0; g < 8; g += 4) {
    const __m256 low01 = _mm256_unpacklo_ps(a[g], a[g + 1]);
    const __m256 high01 = _mm256_unpackhi_ps(a[g], a[g + 1]);
    const __m256 low23 = _mm256_unpacklo_ps(a[g + 2], a[g + 3]);
    const __m256 high23 = _mm256_unpackhi_ps(a[g + 2], a[g + 3]);
    x[g] = _mm256_shuffle_ps(low01, low23, 0x44);
    x[g + 1] = _mm256_shuffle_ps(low01, low23, 0xee);
    x[g + 2] = _mm256_shuffle_ps(high01, high23, 0x44);
    x[g + 3] = _mm256_shuffle_ps(high01, high23, 0xee);
  }
#pragma GCC unroll 4
  for (int i = 0; i < 4; ++i) {
    a[i] = _mm256_permute2f128_ps(x[i], x[i + 4], 0x20);
    a[i + 4] = _mm256_permute2f128_ps(x[i], x[i + 4], 0x31);
  }
}
inline void transpose(F32x16 (&a)[16]) {
  __m256 low[2][8];
  __m256 high[2][8];
#pragma GCC unroll 16
  for (int i = 0; i < 16; ++i) {
    low[i / 8][i % 8] = a[i].low;
    high[i / 8][i % 8] = a[i].high;
  }
  for (int i = 0; i < 2; ++i) {
    transpose_eight(low[i]);
    transpose_eight(high[i]);
  }
#pragma GCC unroll 8
  for (int i = 0; i < 8; ++i) {
    a[i] = {low[0][i], low[1][i]};
    a[i + 8] = {high[0][i], high[1][i]};
  }
}

struct I32x16 {
  __m256i low;
  __m256i high;
};

template <typename Vector>
inline void keep_register(Vector& a) {
  __asm__ volatile("" : "+x"(a.low), "+x"(a.high));
}

inline I32x16 load_words(const void* p) {
  const auto* const q = static_cast<const __m256i*>(p);
  return {_mm256_loadu_si256(q), _mm256_loadu_si256(q + 1)};
}
inline void store_words(void* p, I32x16 a) {
  auto* const q = static_cast<__m256i*>(p);
  _mm256_storeu_si256(q, a.low);
  _mm256_storeu_si256(q + 1, a.high);
}
inline I32x16 broadcast_word(int32_t a) { return {_mm256_set1_epi32(a), _mm256_set1_epi32(a)}; }
inline I32x16 operator+(I32x16 a, I32x16 b) {
  return {_mm256_add_epi32(a.low, b.low), _mm256_add_epi32(a.high, b.high)};
}
inline I32x16 operator-(I32x16 a, I32x16 b) {
  return {_mm256_sub_epi32(a.low, b.low), _mm256_sub_epi32(a.high, b.high)};
}
inline I32x16 operator&(I32x16 a, I32x16 b) {
  return {_mm256_and_si256(a.low, b.low), _mm256_and_si256(a.high, b.high)};
}
template <int kBits>
inline I32x16 shift_left(I32x16 a) {
  return {_mm256_slli_epi32(a.low, kBits), _mm256_slli_epi32(a.high, kBits)};
}
template <int kBits>
inline I32x16 shift_right(I32x16 a) {
  return {_mm256_srli_epi32(a.low, kBits), _mm256_srli_epi32(a.high, kBits)};
}
inline F32x16 to_float(I32x16 a) { return {_mm256_cvtepi32_ps(a.low), _mm256_cvtepi32_ps(a.high)}; }
inline I32x16 image_of(F32x16 a) {
  return {_mm256_castps_si256(a.low), _mm256_castps_si256(a.high)};
}
inline F32x16 from_image(I32x16 a) {
  return {_mm256_castsi256_ps(a.low), _mm256_castsi256_ps(a.high)};
}
inline int32_t sum(I32x16 a) {
  const __m256i eight = _mm256_add_epi32(a.low, a.high);
  const __m128i four =
      _mm_add_epi32(_mm256_castsi256_si128(eight), _mm256_extracti128_si256(eight, 1));
  const __m128i two = _mm_add_epi32(four, _mm_shuffle_epi32(four, 0x4e));
  return _mm_cvtsi128_si32(_mm_add_epi32(two, _mm_shuffle_epi32(two, 0xb1)));
}
inline I32x16 load_halves(const void* p) {
  const auto* const q = static_cast<const __m128i*>(p);
  return {_mm256_cvtepu16_epi32(_mm_loadu_si128(q)), _mm256_cvtepu16_epi32(_mm_loadu_si128(q + 1))};
}
inline __m256i low_halves_of(I32x16 a) {
  const __m256i mask = _mm256_set1_epi32(0xffff);
  // Packing works by halves of a register, so the middle quarters change places.
  const __m256i packed =
      _mm256_packus_epi32(_mm256_and_si256(a.low, mask), _mm256_and_si256(a.high, mask));
  return _mm256_permute4x64_epi64(packed, 0xd8);
}
inline void store_halves(void* p, I32x16 a) {
  _mm256_storeu_si256(static_cast<__m256i*>(p), low_halves_of(a));
}
inline void store_bytes(void* p, I32x16 a) {
  const __m256i halves = _mm256_and_si256(low_halves_of(a), _mm256_set1_epi16(0xff));
  _mm_storeu_si128(static_cast<__m128i*>(p), _mm_packus_epi16(_mm256_castsi256_si128(halves),
                                                              _mm256_extracti128_si256(halves, 1)));
}

// The product of unsigned and signed bytes would overflow with the full range of both; with the
// sign moved to the weights, 2 * 127 * 127 fits 16 bits.
struct Bytes {
  __m256i value;
  __m256i magnitude;
};
constexpr int32_t kByteBias = 0;

inline Bytes broadcast_bytes(const void* p) {
  int32_t word;
  __builtin_memcpy(&word, p, sizeof word);
  const __m256i value = _mm256_set1_epi32(word);
  return {value, _mm256_abs_epi8(value)};
}
inline I32x16 byte_weights(I32x16 w) { return w; }
inline __m256i dot(__m256i total, Bytes a, __m256i w) {
  const __m256i pairs = _mm256_maddubs_epi16(a.magnitude, _mm256_sign_epi8(w, a.value));
  return _mm256_add_epi32(total, _mm256_madd_epi16(pairs, _mm256_set1_epi16(1)));
}
inline I32x16 dot(I32x16 total, Bytes a, I32x16 w) {
  return {dot(total.low, a, w.low), dot(total.high, a, w.high)};
}

// Lanes of 16 bits: eight sums of 2 * 15 * 127 fit.
struct NibbleSum {
  __m256i low;
  __m256i high;
};
inline NibbleSum dot_nibbles(NibbleSum total, Bytes a, I32x16 w) {
  return {_mm256_add_epi16(total.low, _mm256_maddubs_epi16(w.low, a.value)),
          _mm256_add_epi16(total.high, _mm256_maddubs_epi16(w.high, a.value))};
}
inline I32x16 widen(NibbleSum a) {
  const __m256i ones = _mm256_set1_epi16(1);
  return {_mm256_madd_epi16(a.low, ones), _mm256_madd_epi16(a.high, ones)};
}

}  // namespace
}  // namespace pytransformer::kernels
