// Activations on their way into a product: converted to the number format of the weights and, if
// there are many rows, packed in tiles.
#pragma once

#include "kernels/gemm.h"

namespace pytransformer::kernels {
namespace {

constexpr float kMaxByte = 127.0f;
// Rows whose largest number is smaller are taken as zero: 127 / largest must not overflow.
constexpr float kSmallest = 1e-30f;

inline void convert_to_bfloat16(const float* x, int64_t k, uint32_t* words) {
  for (int64_t i = 0; i < k; i += kLanes) store_halves(words + i / 2, to_bfloat16(load(x + i)));
}

// The largest magnitude, or NaN if a number is not finite.
inline float largest_magnitude(const float* x, int64_t k) {
  F32x16 largest = broadcast(0.0f);
  F32x16 nothing = broadcast(0.0f);
  for (int64_t i = 0; i < k; i += kLanes) {
    const F32x16 v = load(x + i);
    largest = max(abs(v), largest);
    nothing = fma(v, broadcast(0.0f), nothing);
  }
  return maximum(largest) + sum(nothing);
}

// Sums that a row of activations has.
constexpr int64_t sums_of(ComputeType type, int64_t k) {
  return type == ComputeType::int4 ? groups_of(k) : 1;
}

// Symmetric int8: q = round(x / scale), scale = largest / 127. Adding 1.5 * 2^23 rounds to the
// nearest integer, ties to even, and leaves it in the low bits.
inline float quantize_row(const float* x, int64_t k, ComputeType type, uint32_t* words,
                          int32_t* sums) {
  const float largest = largest_magnitude(x, k);
  if (!(largest < __builtin_inff())) {
    // No integer stands for NaN or infinity; the scale carries it on.
    __builtin_memset(words, 0, static_cast<size_t>(words_of(type, k)) * sizeof(uint32_t));
    __builtin_memset(sums, 0, static_cast<size_t>(sums_of(type, k)) * sizeof(int32_t));
    return __builtin_nanf("");
  }
  const bool is_zero = largest < kSmallest;
  const F32x16 factor = broadcast(is_zero ? 0.0f : kMaxByte / largest);
  const F32x16 shift = broadcast(12582912.0f);
  const int64_t step = type == ComputeType::int4 ? kGroupSize : k;
  for (int64_t first = 0; first < k; first += step) {
    I32x16 total = broadcast_word(0);
    for (int64_t i = first; i < smaller(first + step, k); i += kLanes) {
      const I32x16 q = image_of(fma(load(x + i), factor, shift)) - image_of(shift);
      total = total + q;
      store_bytes(words + i / 4, q);
    }
    *sums++ = sum(total);
  }
  for (int64_t word = k / 4; word < words_of(type, k); ++word) words[word] = 0;
  return is_zero ? 0.0f : largest / kMaxByte;
}

// One row; `row` counts from the first one of all.
inline void convert_row(const PrepareArgs& args, int64_t row, uint32_t* words) {
  const float* const x = args.x + row * args.ldx;
  switch (args.type) {
    case ComputeType::float32:
      for (int64_t i = 0; i < args.k; i += kLanes) {
        store_words(words + i, image_of(load(x + i)));
      }
      return;
    case ComputeType::bfloat16:
      return convert_to_bfloat16(x, args.k, words);
    case ComputeType::int8:
      args.scales[row] = quantize_row(x, args.k, args.type, words, args.sums + row);
      return;
    case ComputeType::int4:
      args.scales[row] =
          quantize_row(x, args.k, args.type, words, args.sums + row * groups_of(args.k));
      return;
  }
}

// One tile, transposed 16 by 16. A store of 16 words spills over into the next places, which are
// written after it; only at the end of the tile there is nothing to spill into.
void pack_tile(const uint32_t* from, int64_t ld, int64_t rows, int64_t words, uint32_t* out) {
  for (int64_t first = 0; first < words; first += kLanes) {
    const int64_t count = smaller(kLanes, words - first);
    F32x16 block[kLanes];
    for (int64_t r = 0; r < kLanes; ++r) {
      const auto* const row = reinterpret_cast<const float*>(from + smaller(r, rows - 1) * ld);
      block[r] = count == kLanes ? load(row + first) : load_partial(row + first, count);
    }
    transpose(block);
    for (int64_t i = 0; i < count; ++i) {
      const int64_t place = (first + i) * rows;
      auto* const to = reinterpret_cast<float*>(out + place);
      if (place + kLanes <= rows * words) {
        store(to, block[i]);
      } else {
        store_partial(to, block[i], rows);
      }
    }
  }
}

void prepare_rows(const PrepareArgs& args) {
  if (args.m <= kMaxStreamRows) {
    for (int64_t row = args.unit_begin; row < args.unit_end; ++row) {
      convert_row(args, row, args.words + row * args.ld);
    }
    return;
  }
  const int64_t words = words_of(args.type, args.k);
  const BalancedCut cut = tiles_of(args.type, args.m);
  for (int64_t tile = args.unit_begin; tile < args.unit_end; ++tile) {
    const int64_t first = cut.begin(tile);
    const int64_t rows = cut.size(tile);
    const uint32_t* from = args.scratch;
    int64_t ld = words;
    if (args.type == ComputeType::float32) {
      from = reinterpret_cast<const uint32_t*>(args.x + first * args.ldx);
      ld = args.ldx;
    } else {
      for (int64_t r = 0; r < rows; ++r) convert_row(args, first + r, args.scratch + r * words);
    }
    pack_tile(from, ld, rows, words, args.words + first * words);
  }
}

}  // namespace
}  // namespace pytransformer::kernels
