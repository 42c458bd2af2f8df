// 16 virtual lanes in one AVX-512 register. See vec_quarters.h and vec_portable.h for what each
// function promises.
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

#if defined(__AVX512BF16__)
constexpr simd::Isa kIsa = simd::Isa::avx512_bf16;
#elif defined(__AVX512VNNI__)
constexpr simd::Isa kIsa = simd::Isa::avx512_vnni;
#else
constexpr simd::Isa kIsa = simd::Isa::avx512;
#endif
constexpr int kRegisters = 32;
constexpr int kDotRegisters = 4;

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
using Factor = F32x16;
inline Factor factor(float a) { return broadcast(a); }
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

// Not __m512i, whose elements are of 64 bits: the compiler would keep sums of products in memory,
// unable to see through the change of type.
using Words16 = int32_t __attribute__((vector_size(64)));

struct I32x16 {
  Words16 v;
  I32x16() = default;
  I32x16(__m512i a) : v(reinterpret_cast<Words16>(a)) {}
  operator __m512i() const { return reinterpret_cast<__m512i>(v); }
};

template <typename Vector>
inline void keep_register(Vector& a) {
  __asm__ volatile("" : "+v"(a.v));
}

inline I32x16 load_words(const void* p) { return _mm512_loadu_si512(p); }
inline void store_words(void* p, I32x16 a) { _mm512_storeu_si512(p, a); }
inline I32x16 broadcast_word(int32_t a) { return _mm512_set1_epi32(a); }
inline I32x16 operator+(I32x16 a, I32x16 b) { return _mm512_add_epi32(a, b); }
inline I32x16 operator-(I32x16 a, I32x16 b) { return _mm512_sub_epi32(a, b); }
inline I32x16 operator&(I32x16 a, I32x16 b) { return _mm512_and_si512(a, b); }
template <int kBits>
inline I32x16 shift_left(I32x16 a) {
  return _mm512_slli_epi32(a, kBits);
}
template <int kBits>
inline I32x16 shift_right(I32x16 a) {
  return _mm512_srli_epi32(a, kBits);
}
inline F32x16 to_float(I32x16 a) { return {_mm512_cvtepi32_ps(a)}; }
inline I32x16 image_of(F32x16 a) { return _mm512_castps_si512(a.v); }
inline F32x16 from_image(I32x16 a) { return {_mm512_castsi512_ps(a)}; }
inline int32_t sum(I32x16 a) { return _mm512_reduce_add_epi32(a); }
inline I32x16 load_halves(const void* p) {
  return _mm512_cvtepu16_epi32(_mm256_loadu_si256(static_cast<const __m256i*>(p)));
}
inline void store_halves(void* p, I32x16 a) {
  _mm256_storeu_si256(static_cast<__m256i*>(p), _mm512_cvtepi32_epi16(a));
}
inline void store_bytes(void* p, I32x16 a) {
  _mm_storeu_si128(static_cast<__m128i*>(p), _mm512_cvtepi32_epi8(a));
}

inline __m512i broadcast_int32(const void* p) {
  int32_t word;
  __builtin_memcpy(&word, p, sizeof word);
  return _mm512_set1_epi32(word);
}

#ifdef __AVX512VNNI__

// The instruction multiplies unsigned with signed bytes: the weights are shifted to 1 … 255.
struct Bytes {
  __m512i value;
};
constexpr int32_t kByteBias = 128;

inline Bytes broadcast_bytes(const void* p) { return {broadcast_int32(p)}; }
inline I32x16 byte_weights(I32x16 w) {
  return _mm512_xor_si512(w, _mm512_set1_epi8(static_cast<char>(0x80)));
}
inline I32x16 dot(I32x16 total, Bytes a, I32x16 w) {
  return _mm512_dpbusd_epi32(total, w, a.value);
}
using NibbleSum = I32x16;
inline NibbleSum dot_nibbles(NibbleSum total, Bytes a, I32x16 w) { return dot(total, a, w); }
inline I32x16 widen(NibbleSum a) { return a; }

#else

// As with AVX2; there is no instruction for the sign, but one that negates under a mask.
struct Bytes {
  __m512i value;
  __m512i magnitude;
  __mmask64 negative;
};
constexpr int32_t kByteBias = 0;

inline Bytes broadcast_bytes(const void* p) {
  const __m512i value = broadcast_int32(p);
  return {value, _mm512_abs_epi8(value), _mm512_movepi8_mask(value)};
}
inline I32x16 byte_weights(I32x16 w) { return w; }
inline I32x16 dot(I32x16 total, Bytes a, I32x16 w) {
  const __m512i signed_w = _mm512_mask_sub_epi8(w, a.negative, _mm512_setzero_si512(), w);
  const __m512i pairs = _mm512_maddubs_epi16(a.magnitude, signed_w);
  return _mm512_add_epi32(total, _mm512_madd_epi16(pairs, _mm512_set1_epi16(1)));
}
struct NibbleSum {
  __m512i v;
};
inline NibbleSum dot_nibbles(NibbleSum total, Bytes a, I32x16 w) {
  return {_mm512_add_epi16(total.v, _mm512_maddubs_epi16(w, a.value))};
}
inline I32x16 widen(NibbleSum a) { return _mm512_madd_epi16(a.v, _mm512_set1_epi16(1)); }

#endif

}  // namespace
}  // namespace pytransformer::kernels
