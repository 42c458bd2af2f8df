// Scaled dot-product attention, softmax(Q K^T scale) V ("Attention Is All You Need",
// section 3.2.1).
#pragma once

#include "kernels/gemm_tile.h"
#include "kernels/softmax.h"

namespace pytransformer::kernels {
namespace {

// Keys and values as they are kept; queries and sums are float32.
template <CacheType kCacheType>
struct Cached : Float32 {
  static constexpr int64_t kBytes = bytes_of(kCacheType);

  static F32x16 weight(const std::byte* p) {
    if constexpr (kCacheType == CacheType::bfloat16) return load_bfloat16(p);
    return load(reinterpret_cast<const float*>(p));
  }
  static void keep_numbers(std::byte* p, F32x16 x) {
    if constexpr (kCacheType == CacheType::bfloat16) {
      store_halves(p, to_bfloat16(x));
    } else {
      store(reinterpret_cast<float*>(p), x);
    }
  }
};

// Calls f with the format that `type` names.
template <typename F>
inline void with_cache(CacheType type, F f) {
  if (type == CacheType::bfloat16) return f(Cached<CacheType::bfloat16>());
  f(Cached<CacheType::float32>());
}

template <typename Format>
void pack_keys_as(const float* keys, int64_t ldk, int64_t count, int64_t dim, std::byte* out) {
  for (int64_t first = 0; first < count; first += kLanes) {
    for (int64_t i = 0; i < dim; i += kLanes) {
      F32x16 block[kLanes];
      for (int64_t j = 0; j < kLanes; ++j) {
        block[j] = first + j < count ? load(keys + (first + j) * ldk + i) : broadcast(0.0f);
      }
      transpose(block);
      std::byte* const panel = out + (first * dim + i * kLanes) * Format::kBytes;
      for (int64_t j = 0; j < kLanes; ++j) {
        Format::keep_numbers(panel + j * kLanes * Format::kBytes, block[j]);
      }
    }
  }
}

void pack_keys(CacheType type, const float* keys, int64_t ldk, int64_t count, int64_t dim,
               std::byte* out) {
  with_cache(type, [&](auto f) { pack_keys_as<decltype(f)>(keys, ldk, count, dim, out); });
}

void store_rows(CacheType type, const float* x, int64_t ldx, int64_t count, int64_t dim,
                std::byte* out) {
  with_cache(type, [&](auto format) {
    using Format = decltype(format);
    for (int64_t row = 0; row < count; ++row) {
      for (int64_t i = 0; i < dim; i += kLanes, out += kLanes * Format::kBytes) {
        Format::keep_numbers(out, load(x + row * ldx + i));
      }
    }
  });
}

inline void copy_numbers(const float* from, int64_t count, float* to) {
  for (int64_t i = 0; i < count; ++i) to[i] = from[i];
}

// Queries that share one pass over the keys.
constexpr int kAttentionRows = Cut<Float32>::kPassRows;

int64_t attention_scratch(int64_t keys) { return kAttentionRows * padded(keys); }

// A matrix in panels of 16 columns that may lie apart: line i of panel p.
struct StridedLines {
  const std::byte* data;
  int64_t panel_bytes;
  int64_t line_bytes;
  int64_t ahead;
  const std::byte* at(int panel, int64_t i) const {
    return data + panel * panel_bytes + i * line_bytes;
  }
  void prefetch(int panel, int64_t i) const { __builtin_prefetch(at(panel, i) + ahead, 0, 2); }
};

// C [rows, 16 panels] = A [rows, k] B.
struct SmallProduct {
  int64_t k;
  int64_t panels;
  const float* a;
  int64_t lda;
  StridedLines b;
  float* c;
  int64_t ldc;
};

template <typename Format, int kRows, int kPanels = Cut<Float32>::pass_panels(kRows)>
void multiply_panels(const SmallProduct& args, int64_t panel = 0) {
  const StridedRows<kRows> a = {reinterpret_cast<const uint32_t*>(args.a), args.lda};
  for (; panel + kPanels <= args.panels; panel += kPanels) {
    StridedLines b = args.b;
    b.data += panel * b.panel_bytes;
    const auto tile = multiply<Format, 1, kRows, kPanels>(a, b, args.k);
#pragma GCC unroll 16
    for (int r = 0; r < kRows; ++r) {
#pragma GCC unroll 16
      for (int p = 0; p < kPanels; ++p) {
        store(args.c + r * args.ldc + (panel + p) * kLanes, tile.v[r][p]);
      }
    }
  }
  if constexpr (kPanels > 1) {
    if (panel < args.panels) multiply_panels<Format, kRows, kPanels / 2>(args, panel);
  }
}

template <typename Format, int kRows = kAttentionRows>
void multiply_rows(const SmallProduct& args, int64_t rows) {
  if (rows == kRows) return multiply_panels<Format, kRows>(args);
  if constexpr (kRows > 1) multiply_rows<Format, kRows - 1>(args, rows);
}

// Queries share the keys and values in blocks of rows; their scores [rows, keys] lie in scratch.
template <typename Format>
void attention_as(const AttentionArgs& args) {
  constexpr int64_t kLine = kLanes * Format::kBytes;
  const int64_t width = padded(args.keys);
  const BalancedCut cut = {args.queries, ceil_divide(args.queries, kAttentionRows)};
  for (int64_t block = 0; block < cut.parts; ++block) {
    const int64_t row = cut.begin(block);
    const int64_t rows = cut.size(block);
    multiply_rows<Format>({.k = args.dim,
                           .panels = width / kLanes,
                           .a = args.q + row * args.ldq,
                           .lda = args.ldq,
                           .b = {args.packed_keys, args.dim * kLine, kLine, args.ahead},
                           .c = args.scratch,
                           .ldc = width},
                          rows);
    for (int64_t r = 0; r < rows; ++r) {
      const float* const bias =
          args.bias == nullptr ? nullptr : args.bias + (row + r) * args.ld_bias;
      softmax_row(args.scratch + r * width, args.keys, args.scale, bias);
      if (args.weights != nullptr) {
        copy_numbers(args.scratch + r * width, args.keys,
                     args.weights + (row + r) * args.ld_weights);
      }
    }
    multiply_rows<Format>({.k = args.keys,
                           .panels = args.dim / kLanes,
                           .a = args.scratch,
                           .lda = width,
                           .b = {args.v, kLine, args.v_bytes, args.ahead},
                           .c = args.out + row * args.ldo,
                           .ldc = args.ldo},
                          rows);
  }
}

void attention(const AttentionArgs& args) {
  with_cache(args.type, [&](auto format) { attention_as<decltype(format)>(args); });
}

// Slots lie anywhere, so hardware cannot know what comes next: the same row of the next head.
inline void prefetch_next_head(const CachedAttentionArgs& args, const std::byte* row,
                               int64_t row_bytes) {
  for (int64_t i = 0; i < row_bytes; i += kLineBytes) {
    __builtin_prefetch(row + args.head_bytes + i, 0, 3);
  }
}

inline const std::byte* slot_row(const CachedAttentionArgs& args, int64_t i, int64_t row_bytes) {
  const int64_t slot = args.slots[i];
  return args.chunks[slot / kSlotsPerChunk] + slot % kSlotsPerChunk * row_bytes;
}

// The products of one query with 16 keys, each summed over 16 lanes and the fixed tree.
template <typename Format>
inline F32x16 dot_products(const CachedAttentionArgs& args, const float* q, int64_t first,
                           int64_t key_offset) {
  const int64_t row_bytes = args.dim * Format::kBytes;
  F32x16 partial[kLanes];
  for (int64_t j = 0; j < kLanes; ++j) {
    // Behind the end, the last key again: its product is not used.
    const std::byte* const key =
        slot_row(args, smaller(first + j, args.count - 1), row_bytes) + key_offset;
    prefetch_next_head(args, key, row_bytes);
    F32x16 total = broadcast(0.0f);
    for (int64_t i = 0; i < args.dim; i += kLanes) {
      total = fma(load(q + i), Format::weight(key + i * Format::kBytes), total);
    }
    partial[j] = total;
  }
  return sums(partial);
}

template <typename Format, int kVectors>
void mix_values(const CachedAttentionArgs& args, int64_t value_offset, float* out) {
  F32x16 total[kVectors] = {};
  for (int64_t s = 0; s < args.count; ++s) {
    const std::byte* const value = slot_row(args, s, args.dim * Format::kBytes) + value_offset;
    prefetch_next_head(args, value, kVectors * kLanes * Format::kBytes);
    const F32x16 weight = broadcast(args.scratch[s]);
#pragma GCC unroll 16
    for (int i = 0; i < kVectors; ++i) {
      total[i] = fma(weight, Format::weight(value + i * kLanes * Format::kBytes), total[i]);
    }
  }
  for (int i = 0; i < kVectors; ++i) store(out + i * kLanes, total[i]);
}

template <typename Format>
void attention_cached_as(const CachedAttentionArgs& args) {
  for (int64_t head = 0; head < args.heads; ++head) {
    const float* const q = args.q + head * args.dim;
    const int64_t keys = args.key_offset + head * args.head_bytes;
    for (int64_t first = 0; first < args.count; first += kLanes) {
      store(args.scratch + first, dot_products<Format>(args, q, first, keys));
    }
    const float* const bias = args.bias == nullptr ? nullptr : args.bias + head * args.bias_stride;
    softmax_row(args.scratch, args.count, args.scale, bias);
    if (args.weights != nullptr) {
      copy_numbers(args.scratch, args.count, args.weights + head * args.weights_stride);
    }

    float* const out = args.out + head * args.dim;
    const int64_t values = args.value_offset + head * args.head_bytes;
    int64_t i = 0;
    for (; i + 4 * kLanes <= args.dim; i += 4 * kLanes) {
      mix_values<Format, 4>(args, values + i * Format::kBytes, out + i);
    }
    for (; i < args.dim; i += kLanes) {
      mix_values<Format, 1>(args, values + i * Format::kBytes, out + i);
    }
  }
}

void attention_cached(const CachedAttentionArgs& args) {
  with_cache(args.type, [&](auto format) { attention_cached_as<decltype(format)>(args); });
}

}  // namespace
}  // namespace pytransformer::kernels
