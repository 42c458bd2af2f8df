// The number formats of products: how a line of weights meets a word of activations, and what the
// sums become in the end.
#pragma once

#include "kernels/kernels.h"

namespace pytransformer::kernels {
namespace {

constexpr int64_t ceil_divide(int64_t a, int64_t b) { return (a + b - 1) / b; }
constexpr int64_t smaller(int64_t a, int64_t b) { return a < b ? a : b; }

inline const float* scales_of(const Panels& b, int64_t panel) {
  return reinterpret_cast<const float*>(b.scales + panel * b.scale_bytes);
}

// Two bfloat16 of a word: the lower and the upper one, as float32.
inline F32x16 lower_half(I32x16 a) { return from_image(shift_left<16>(a)); }
inline F32x16 upper_half(I32x16 a) {
  return from_image(a & broadcast_word(static_cast<int32_t>(0xffff0000u)));
}

// To the nearest bfloat16 in the low half of each word, ties to even; NaN stays NaN.
inline I32x16 to_bfloat16(F32x16 x) {
  const I32x16 image = image_of(x);
  const I32x16 odd = shift_right<16>(image) & broadcast_word(1);
  const I32x16 rounded = shift_right<16>(image + broadcast_word(0x7fff) + odd);
  const I32x16 quiet = (shift_right<16>(image) & broadcast_word(0xffbf)) + broadcast_word(0x40);
  const Mask16 number = greater(abs(x), broadcast(-1.0f));  // false for NaN
  return image_of(select(number, from_image(rounded), from_image(quiet)));
}

// 16 numbers of bfloat16.
inline F32x16 load_bfloat16(const void* p) { return from_image(shift_left<16>(load_halves(p))); }

struct Float32 {
  static constexpr ComputeType kType = ComputeType::float32;
  using Sum = F32x16;
  using Value = Factor;
  using Weight = F32x16;

  static Weight weight(const std::byte* line) { return load(reinterpret_cast<const float*>(line)); }
  static Value value(const uint32_t* word) { return factor(*reinterpret_cast<const float*>(word)); }
  static Sum multiply_add(Sum sum, Value x, Weight w) { return fma(x, w, sum); }
  static F32x16 result(Sum sum, F32x16 bias, const GemmArgs&, int64_t, int64_t) {
    return sum + bias;
  }
};

struct BFloat16 {
  static constexpr ComputeType kType = ComputeType::bfloat16;
  using Sum = F32x16;
#ifdef __AVX512BF16__
  using Value = I32x16;
  using Weight = I32x16;

  static Weight weight(const std::byte* line) { return load_words(line); }
  static Value value(const uint32_t* word) { return broadcast_word(static_cast<int32_t>(*word)); }
  static Sum multiply_add(Sum sum, Value x, Weight w) {
    return {_mm512_dpbf16_ps(sum.v, reinterpret_cast<__m512bh>(static_cast<__m512i>(x)),
                             reinterpret_cast<__m512bh>(static_cast<__m512i>(w)))};
  }
#else
  template <typename Number>
  struct Pair {
    Number lower;
    Number upper;
  };
  using Value = Pair<Factor>;
  using Weight = Pair<F32x16>;

  static Weight weight(const std::byte* line) {
    const I32x16 words = load_words(line);
    return {lower_half(words), upper_half(words)};
  }
  static Value value(const uint32_t* word) {
    return {factor(__builtin_bit_cast(float, *word << 16)),
            factor(__builtin_bit_cast(float, *word & 0xffff0000u))};
  }
  static Sum multiply_add(Sum sum, const Value& x, const Weight& w) {
    return fma(x.upper, w.upper, fma(x.lower, w.lower, sum));
  }
#endif
  static F32x16 result(Sum sum, F32x16 bias, const GemmArgs&, int64_t, int64_t) {
    return sum + bias;
  }
};

struct Int8 {
  static constexpr ComputeType kType = ComputeType::int8;
  using Sum = I32x16;
  using Value = Bytes;
  using Weight = I32x16;

  static Weight weight(const std::byte* line) { return byte_weights(load_words(line)); }
  static Value value(const uint32_t* word) { return broadcast_bytes(word); }
  static Sum multiply_add(Sum sum, const Value& x, Weight w) { return dot(sum, x, w); }
  static F32x16 result(Sum sum, F32x16 bias, const GemmArgs& args, int64_t row, int64_t panel) {
    if constexpr (kByteBias != 0) sum = sum - broadcast_word(kByteBias * args.a.sums[row]);
    const F32x16 scale = load(scales_of(args.b, panel)) * broadcast(args.a.scales[row]);
    return fma(to_float(sum), scale, bias);
  }
};

// The sums of each group are exact; their scaled values add up in float32, in the order of k.
struct Int4 {
  static constexpr ComputeType kType = ComputeType::int4;
  static constexpr int kLines = 4;   // of a group
  static constexpr int kOffset = 8;  // of a stored weight
  using Sum = F32x16;

  static I32x16 lower_nibbles(I32x16 line) { return line & broadcast_word(0x0f0f0f0f); }
  static I32x16 upper_nibbles(I32x16 line) { return lower_nibbles(shift_right<4>(line)); }
  static F32x16 scale(const Panels& b, int64_t panel, int64_t group) {
    const std::byte* const place = b.scales + panel * b.scale_bytes + group * (kLanes * 2);
    return load_bfloat16(place);
  }
  static F32x16 result(Sum sum, F32x16 bias, const GemmArgs& args, int64_t row, int64_t) {
    return fma(sum, broadcast(args.a.scales[row]), bias);
  }
};

}  // namespace
}  // namespace pytransformer::kernels
