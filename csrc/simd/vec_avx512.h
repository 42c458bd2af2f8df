// 16 virtual lanes in one AVX-512 register. See vec_portable.h for what each function promises.
#pragma once

#include <cstddef>
#include <cstdint>

// GCC 12 warns of the undefined registers that its own header makes on purpose (GCC bug 105593).
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wuninitialized"
#pragma GCC diagnostic ignored "-Wmaybe-uninitialized"
#include <immintrin.h>
#pragma GCC diagnostic pop

#include "simd/isa_id.h"

namespace pytransformer::kernels {
namespace {

constexpr simd::Isa kIsa = simd::Isa::avx512;
constexpr int kRegisters = 32;

struct F32x16 {
  __m512 v;
};
struct Mask16 {
  __mmask16 m;
};

inline F32x16 load(const float* p) { return {_mm512_loadu_ps(p)}; }
inline void store(float* p, F32x16 a) { _mm512_storeu_ps(p, a.v); }
inline F32x16 broadcast(float a) { return {_mm512_set1_ps(a)}; }

inline Mask16 first_lanes(int64_t n) { return {static_cast<__mmask16>((1u << n) - 1u)}; }
inline uint32_t bits(Mask16 mask) { return mask.m; }
inline F32x16 load_partial(const float* p, int64_t n) {
  return {_mm512_maskz_loadu_ps(first_lanes(n).m, p)};
}
inline void store_partial(float* p, F32x16 a, int64_t n) {
  _mm512_mask_storeu_ps(p, first_lanes(n).m, a.v);
}
inline F32x16 select(Mask16 mask, F32x16 yes, F32x16 no) {
  return {_mm512_mask_blend_ps(mask.m, no.v, yes.v)};
}

inline F32x16 operator+(F32x16 a, F32x16 b) { return {_mm512_add_ps(a.v, b.v)}; }
inline F32x16 operator-(F32x16 a, F32x16 b) { return {_mm512_sub_ps(a.v, b.v)}; }
inline F32x16 operator*(F32x16 a, F32x16 b) { return {_mm512_mul_ps(a.v, b.v)}; }
inline F32x16 operator/(F32x16 a, F32x16 b) { return {_mm512_div_ps(a.v, b.v)}; }
inline F32x16 fma(F32x16 a, F32x16 b, F32x16 c) { return {_mm512_fmadd_ps(a.v, b.v, c.v)}; }
inline F32x16 max(F32x16 a, F32x16 b) { return {_mm512_max_ps(a.v, b.v)}; }
inline F32x16 min(F32x16 a, F32x16 b) { return {_mm512_min_ps(a.v, b.v)}; }
inline F32x16 abs(F32x16 a) { return {_mm512_andnot_ps(_mm512_set1_ps(-0.0f), a.v)}; }
inline F32x16 copysign(F32x16 magnitude, F32x16 sign) {
  const __m512 sign_bit = _mm512_set1_ps(-0.0f);
  return {_mm512_or_ps(_mm512_andnot_ps(sign_bit, magnitude.v), _mm512_and_ps(sign_bit, sign.v))};
}
inline Mask16 greater(F32x16 a, F32x16 b) { return {_mm512_cmp_ps_mask(a.v, b.v, _CMP_GT_OQ)}; }
inline Mask16 not_less(F32x16 a, F32x16 b) { return {_mm512_cmp_ps_mask(a.v, b.v, _CMP_NLT_UQ)}; }

inline F32x16 half_power_of_two(F32x16 biased) {
  const __m512i exponent = _mm512_slli_epi32(_mm512_castps_si512(biased.v), 23);
  return {_mm512_castsi512_ps(_mm512_add_epi32(exponent, _mm512_set1_epi32(126 << 23)))};
}

inline float sum(F32x16 a) {
  const __m256 eight = _mm256_add_ps(_mm512_castps512_ps256(a.v), _mm512_extractf32x8_ps(a.v, 1));
  const __m128 four = _mm_add_ps(_mm256_castps256_ps128(eight), _mm256_extractf128_ps(eight, 1));
  const __m128 two = _mm_add_ps(four, _mm_movehl_ps(four, four));
  return _mm_cvtss_f32(_mm_add_ss(two, _mm_movehdup_ps(two)));
}

inline float maximum(F32x16 a) {
  const __m256 eight = _mm256_max_ps(_mm512_castps512_ps256(a.v), _mm512_extractf32x8_ps(a.v, 1));
  const __m128 four = _mm_max_ps(_mm256_castps256_ps128(eight), _mm256_extractf128_ps(eight, 1));
  const __m128 two = _mm_max_ps(four, _mm_movehl_ps(four, four));
  return _mm_cvtss_f32(_mm_max_ss(two, _mm_movehdup_ps(two)));
}

// [a0+a2 a1+a3 b0+b2 b1+b3], in quarters of a register: lane i + lane i + 8 of a and of b.
inline __m512 fold_eight(F32x16 a, F32x16 b) {
  return _mm512_add_ps(_mm512_shuffle_f32x4(a.v, b.v, 0x44), _mm512_shuffle_f32x4(a.v, b.v, 0xee));
}
// Quarter i: the four remaining sums of a[4 * i].
inline __m512 fold_four(const F32x16* a) {
  const __m512 x = fold_eight(a[0], a[4]);
  const __m512 y = fold_eight(a[8], a[12]);
  return _mm512_add_ps(_mm512_shuffle_f32x4(x, y, 0x88), _mm512_shuffle_f32x4(x, y, 0xdd));
}
inline __m512 fold_two(__m512 x, __m512 y) {
  return _mm512_add_ps(_mm512_shuffle_ps(x, y, 0x44), _mm512_shuffle_ps(x, y, 0xee));
}
inline F32x16 sums(const F32x16 (&a)[16]) {
  const __m512 x = fold_two(fold_four(a), fold_four(a + 1));
  const __m512 y = fold_two(fold_four(a + 2), fold_four(a + 3));
  return {_mm512_add_ps(_mm512_shuffle_ps(x, y, 0x88), _mm512_shuffle_ps(x, y, 0xdd))};
}

inline void transpose(F32x16 (&a)[16]) {
  // Quarter q of x[4 g + i]: column 4 q + i of rows 4 g … 4 g + 3.
  __m512 x[16];
#pragma GCC unroll 4
  for (int g = 0; g < 16; g += 4) {
    const __m512 low01 = _mm512_unpacklo_ps(a[g].v, a[g + 1].v);
    const __m512 high01 = _mm512_unpackhi_ps(a[g].v, a[g + 1].v);
    const __m512 low23 = _mm512_unpacklo_ps(a[g + 2].v, a[g + 3].v);
    const __m512 high23 = _mm512_unpackhi_ps(a[g + 2].v, a[g + 3].v);
    x[g] = _mm512_shuffle_ps(low01, low23, 0x44);
    x[g + 1] = _mm512_shuffle_ps(low01, low23, 0xee);
    x[g + 2] = _mm512_shuffle_ps(high01, high23, 0x44);
    x[g + 3] = _mm512_shuffle_ps(high01, high23, 0xee);
  }
  // Then quarters: a 4 x 4 transpose of them for each i.
#pragma GCC unroll 4
  for (int i = 0; i < 4; ++i) {
    const __m512 upper01 = _mm512_shuffle_f32x4(x[i], x[i + 4], 0x44);
    const __m512 upper23 = _mm512_shuffle_f32x4(x[i], x[i + 4], 0xee);
    const __m512 lower01 = _mm512_shuffle_f32x4(x[i + 8], x[i + 12], 0x44);
    const __m512 lower23 = _mm512_shuffle_f32x4(x[i + 8], x[i + 12], 0xee);
    a[i].v = _mm512_shuffle_f32x4(upper01, lower01, 0x88);
    a[i + 4].v = _mm512_shuffle_f32x4(upper01, lower01, 0xdd);
    a[i + 8].v = _mm512_shuffle_f32x4(upper23, lower23, 0x88);
    a[i + 12].v = _mm512_shuffle_f32x4(upper23, lower23, 0xdd);
  }
}

}  // namespace
}  // namespace pytransformer::kernels
