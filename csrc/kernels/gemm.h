// C = activation(A B^T + bias) + residual, with B in panels of 16 outputs.
//
// Every output element has one accumulator, fed in the order of k, so the bits of a row depend
// neither on the number of rows nor on how the product is cut. Two ways to cut it:
// - few rows: each group of panels is streamed from memory once, for all rows; A is read where it
//   lies. Bound by memory, so several panels are read at once.
// - many rows: A is packed in tiles of rows; a group of panels is used for all tiles of a block of
//   rows that stays in the second-level cache. Bound by arithmetic.
#pragma once

#include "kernels/activation.h"

namespace pytransformer::kernels {
namespace {

// Tiles of many rows: panels at once, and rows so that accumulators, weights and one number of A
// fill the registers.
constexpr int kTilePanels = kRegisters >= 32 ? 2 : 1;
constexpr int kTileRows = kRegisters >= 32 ? 12 : kRegisters - 2;
// Few rows: rows that share one pass over the weights.
constexpr int kPassRows = kRegisters >= 32 ? 8 : kTileRows;
// Panels at once: as many as the registers hold, so that the accumulators hide each other's
// latency; more streams than six were measured to slow the caches down.
constexpr int pass_panels(int rows) {
  const int panels = kRegisters * 3 / 4 / rows;
  return panels > 6 ? 6 : panels > 1 ? panels : 1;
}
// Bytes of A that a block of rows may fill.
constexpr int64_t kBlockBytes = 512 * 1024;
// Panels that several passes over few rows share.
constexpr int64_t kGroupPanels = 8;

constexpr int64_t ceil_divide(int64_t a, int64_t b) { return (a + b - 1) / b; }
constexpr int64_t smaller(int64_t a, int64_t b) { return a < b ? a : b; }

// `rows` cut in `parts` parts whose sizes differ by at most one.
struct BalancedCut {
  int64_t rows;
  int64_t parts;

  int64_t begin(int64_t part) const { return part * (rows / parts) + smaller(part, rows % parts); }
  int64_t size(int64_t part) const { return rows / parts + (part < rows % parts ? 1 : 0); }
};

template <int kRows>
struct StridedRows {
  const float* a;
  int64_t lda;
  float at(int row, int64_t i) const { return a[row * lda + i]; }
};

template <int kRows>
struct PackedRows {
  const float* a;
  float at(int row, int64_t i) const { return a[i * kRows + row]; }
};

template <int kRows, int kPanels>
struct Accumulators {
  F32x16 v[kRows][kPanels];
};

// The products of all k. The hardware prefetches panels well by itself; asking for lines in
// software as well was measured to be slower.
template <int kRows, int kPanels, typename A>
inline void multiply(const A& a, const Panels& b, int64_t k, Accumulators<kRows, kPanels>& acc) {
  for (int64_t i = 0; i < k; ++i) {
    F32x16 w[kPanels];
#pragma GCC unroll 16
    for (int p = 0; p < kPanels; ++p) w[p] = load(b.data + p * b.panel_stride + i * b.k_stride);
#pragma GCC unroll 16
    for (int r = 0; r < kRows; ++r) {
      const F32x16 x = broadcast(a.at(r, i));
#pragma GCC unroll 16
      for (int p = 0; p < kPanels; ++p) acc.v[r][p] = fma(x, w[p], acc.v[r][p]);
    }
  }
}

inline bool is_plain(const GemmArgs& args) {
  return args.bias == nullptr && args.residual == nullptr && args.activation == Activation::none;
}

// Bias, activation and residual of one tile, on its way from the first-level cache to C.
[[gnu::noinline]] void finish_tile(const GemmArgs& args, float* tile, int64_t row, int64_t rows,
                                   int64_t panel, int64_t panels) {
  const int64_t width = panels * kLanes;
  const int64_t column = panel * kLanes;
  if (args.bias != nullptr) {
    for (int64_t r = 0; r < rows; ++r) {
      for (int64_t i = 0; i < width; i += kLanes) {
        store(tile + r * width + i, load(tile + r * width + i) + load(args.bias + column + i));
      }
    }
  }
  activate(args.activation, tile, rows * width);
  for (int64_t r = 0; r < rows; ++r) {
    for (int64_t i = 0; i < width; i += kLanes) {
      F32x16 x = load(tile + r * width + i);
      if (args.residual != nullptr) {
        x = x + load(args.residual + (row + r) * args.ldr + column + i);
      }
      store(args.c + (row + r) * args.ldc + column + i, x);
    }
  }
}

template <int kRows, int kPanels>
inline void store_tile(const GemmArgs& args, const Accumulators<kRows, kPanels>& acc, int64_t row,
                       int64_t panel) {
  const bool plain = is_plain(args);
  alignas(64) float tile[kRows * kPanels * kLanes];
  float* out = plain ? args.c + row * args.ldc + panel * kLanes : tile;
  const int64_t ld = plain ? args.ldc : kPanels * kLanes;
#pragma GCC unroll 16
  for (int r = 0; r < kRows; ++r) {
#pragma GCC unroll 16
    for (int p = 0; p < kPanels; ++p) store(out + r * ld + p * kLanes, acc.v[r][p]);
  }
  if (!plain) finish_tile(args, tile, row, kRows, panel, kPanels);
}

inline Panels from_panel(const Panels& b, int64_t panel) {
  return {b.data + panel * b.panel_stride, b.panel_stride, b.k_stride};
}

// Rows [row, row + kRows) of the panels [panel, end), kPanels at a time; then the rest at once.
template <int kRows, int kPanels = pass_panels(kRows)>
void stream_panels(const GemmArgs& args, int64_t row, int64_t panel, int64_t end) {
  const StridedRows<kRows> a = {args.a + row * args.lda, args.lda};
  for (; panel + kPanels <= end; panel += kPanels) {
    Accumulators<kRows, kPanels> acc = {};
    multiply(a, from_panel(args.b, panel), args.k, acc);
    store_tile(args, acc, row, panel);
  }
  if constexpr (kPanels > 1) {
    if (panel < end) stream_panels<kRows, kPanels - 1>(args, row, panel, end);
  }
}

template <int kRows = kPassRows>
void stream_rows(const GemmArgs& args, int64_t row, int64_t rows, int64_t panel, int64_t end) {
  if (rows == kRows) return stream_panels<kRows>(args, row, panel, end);
  if constexpr (kRows > 1) stream_rows<kRows - 1>(args, row, rows, panel, end);
}

// With more rows than one pass takes, the passes follow each other group by group of panels that
// stay in the cache.
void gemm_stream(const GemmArgs& args) {
  const BalancedCut passes = {args.m, ceil_divide(args.m, kPassRows)};
  const int64_t group = passes.parts == 1 ? args.panels : kGroupPanels;
  for (int64_t panel = 0; panel < args.panels; panel += group) {
    const int64_t end = smaller(panel + group, args.panels);
    for (int64_t pass = 0; pass < passes.parts; ++pass) {
      stream_rows(args, passes.begin(pass), passes.size(pass), panel, end);
    }
  }
}

BalancedCut tiles_of(int64_t m) { return {m, ceil_divide(m, kTileRows)}; }

int64_t row_tiles(int64_t m) { return tiles_of(m).parts; }

// One tile, transposed 16 by 16. A store of 16 lanes spills over into the next places, which are
// written after it; only at the end of the tile there is nothing to spill into.
void pack_tile(const float* a, int64_t lda, int64_t rows, int64_t k, float* out) {
  for (int64_t first = 0; first < k; first += kLanes) {
    const int64_t count = smaller(kLanes, k - first);
    F32x16 block[kLanes];
    for (int64_t r = 0; r < kLanes; ++r) {
      const float* from = a + smaller(r, rows - 1) * lda + first;
      block[r] = count == kLanes ? load(from) : load_partial(from, count);
    }
    transpose(block);
    for (int64_t i = 0; i < count; ++i) {
      const int64_t place = (first + i) * rows;
      if (place + kLanes <= rows * k) {
        store(out + place, block[i]);
      } else {
        store_partial(out + place, block[i], rows);
      }
    }
  }
}

void pack_rows(const float* a, int64_t lda, int64_t m, int64_t k, int64_t tile_begin,
               int64_t tile_end, float* out) {
  const BalancedCut cut = tiles_of(m);
  for (int64_t tile = tile_begin; tile < tile_end; ++tile) {
    const int64_t row = cut.begin(tile);
    pack_tile(a + row * lda, lda, cut.size(tile), k, out + row * k);
  }
}

template <int kPanels, int kRows = kTileRows>
void packed_tile(const GemmArgs& args, int64_t row, int64_t rows, int64_t panel) {
  if (rows == kRows) {
    Accumulators<kRows, kPanels> acc = {};
    const PackedRows<kRows> a = {args.packed_a + row * args.k};
    multiply(a, from_panel(args.b, panel), args.k, acc);
    store_tile(args, acc, row, panel);
    return;
  }
  if constexpr (kRows > 1) packed_tile<kPanels, kRows - 1>(args, row, rows, panel);
}

template <int kPanels>
void packed_panels(const GemmArgs& args, const BalancedCut& cut, int64_t tile_begin,
                   int64_t tile_end, int64_t panel) {
  for (; panel + kPanels <= args.panels; panel += kPanels) {
    for (int64_t tile = tile_begin; tile < tile_end; ++tile) {
      packed_tile<kPanels>(args, cut.begin(tile), cut.size(tile), panel);
    }
  }
  if constexpr (kPanels > 1) packed_panels<kPanels / 2>(args, cut, tile_begin, tile_end, panel);
}

void gemm_packed(const GemmArgs& args) {
  const BalancedCut cut = tiles_of(args.m);
  const int64_t tile_bytes = kTileRows * args.k * static_cast<int64_t>(sizeof(float));
  const int64_t blocks = ceil_divide(cut.parts * tile_bytes, kBlockBytes);
  const BalancedCut tiles = {cut.parts, smaller(blocks > 0 ? blocks : 1, cut.parts)};
  for (int64_t block = 0; block < tiles.parts; ++block) {
    packed_panels<kTilePanels>(args, cut, tiles.begin(block), tiles.begin(block + 1), 0);
  }
}

void gemm(const GemmArgs& args) {
  if (args.m > kMaxStreamRows) {
    gemm_packed(args);
  } else if (args.m > 0) {
    gemm_stream(args);
  }
}

}  // namespace
}  // namespace pytransformer::kernels
