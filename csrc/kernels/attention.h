// Scaled dot-product attention, softmax(Q K^T scale) V ("Attention Is All You Need",
// section 3.2.1).
#pragma once

#include "kernels/gemm.h"
#include "kernels/softmax.h"

namespace pytransformer::kernels {
namespace {

void pack_keys(const float* keys, int64_t ldk, int64_t count, int64_t dim, float* out) {
  for (int64_t first = 0; first < count; first += kLanes) {
    for (int64_t i = 0; i < dim; i += kLanes) {
      F32x16 block[kLanes];
      for (int64_t j = 0; j < kLanes; ++j) {
        block[j] = first + j < count ? load(keys + (first + j) * ldk + i) : broadcast(0.0f);
      }
      transpose(block);
      float* panel = out + first * dim + i * kLanes;
      for (int64_t j = 0; j < kLanes; ++j) store(panel + j * kLanes, block[j]);
    }
  }
}

constexpr int64_t round_up(int64_t n) { return ceil_divide(n, kLanes) * kLanes; }

int64_t attention_scratch(int64_t keys) { return kPassRows * round_up(keys); }

// Queries share the keys and values in blocks of rows; their scores [rows, keys] lie in scratch.
void attention(const AttentionArgs& args) {
  const int64_t width = round_up(args.keys);
  const BalancedCut cut = {args.queries, ceil_divide(args.queries, kPassRows)};
  for (int64_t block = 0; block < cut.parts; ++block) {
    const int64_t row = cut.begin(block);
    const int64_t rows = cut.size(block);

    GemmArgs scores = {};
    scores.m = rows;
    scores.k = args.dim;
    scores.panels = width / kLanes;
    scores.a = args.q + row * args.ldq;
    scores.lda = args.ldq;
    scores.b = {args.packed_keys, args.dim * kLanes, kLanes};
    scores.c = args.scratch;
    scores.ldc = width;
    gemm_stream(scores);

    for (int64_t r = 0; r < rows; ++r) {
      softmax_row(args.scratch + r * width, args.keys, args.scale);
    }

    GemmArgs mix = {};
    mix.m = rows;
    mix.k = args.keys;
    mix.panels = args.dim / kLanes;
    mix.a = args.scratch;
    mix.lda = width;
    mix.b = {args.v, kLanes, args.ldv};
    mix.c = args.out + row * args.ldo;
    mix.ldc = args.ldo;
    gemm_stream(mix);
  }
}

inline const float* slot_row(const CachedAttentionArgs& args, int64_t i) {
  const int64_t slot = args.slots[i];
  return args.chunks[slot / kSlotsPerChunk] + slot % kSlotsPerChunk * args.row_stride;
}

// The products of one query with 16 keys, each summed over 16 lanes and the fixed tree.
inline F32x16 dot_products(const CachedAttentionArgs& args, const float* q, int64_t first,
                           int64_t key_offset) {
  F32x16 partial[kLanes];
  for (int64_t j = 0; j < kLanes; ++j) {
    // Behind the end, the last key again: its product is not used.
    const float* key = slot_row(args, smaller(first + j, args.count - 1)) + key_offset;
    F32x16 total = broadcast(0.0f);
    for (int64_t i = 0; i < args.dim; i += kLanes) total = fma(load(q + i), load(key + i), total);
    partial[j] = total;
  }
  return sums(partial);
}

template <int kVectors>
void mix_values(const CachedAttentionArgs& args, int64_t value_offset, float* out) {
  F32x16 total[kVectors] = {};
  for (int64_t s = 0; s < args.count; ++s) {
    const float* value = slot_row(args, s) + value_offset;
    const F32x16 weight = broadcast(args.scratch[s]);
#pragma GCC unroll 16
    for (int i = 0; i < kVectors; ++i) total[i] = fma(weight, load(value + i * kLanes), total[i]);
  }
  for (int i = 0; i < kVectors; ++i) store(out + i * kLanes, total[i]);
}

void attention_cached(const CachedAttentionArgs& args) {
  for (int64_t head = 0; head < args.heads; ++head) {
    const int64_t column = head * args.dim;
    for (int64_t first = 0; first < args.count; first += kLanes) {
      store(args.scratch + first,
            dot_products(args, args.q + column, first, args.key_offset + column));
    }
    softmax_row(args.scratch, args.count, args.scale);

    const int64_t values = args.value_offset + column;
    float* out = args.out + column;
    int64_t i = 0;
    for (; i + 4 * kLanes <= args.dim; i += 4 * kLanes) mix_values<4>(args, values + i, out + i);
    for (; i + 2 * kLanes <= args.dim; i += 2 * kLanes) mix_values<2>(args, values + i, out + i);
    for (; i < args.dim; i += kLanes) mix_values<1>(args, values + i, out + i);
  }
}

}  // namespace
}  // namespace pytransformer::kernels
