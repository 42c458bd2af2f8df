// C = activation(A B^T + bias) + residual, with B in panels of 16 outputs.
//
// Every output element has one accumulator, fed in the order of k (integers: in any order, for they
// are exact), so the bits of a row depend neither on the number of rows nor on how the product is
// cut. Two ways to cut it:
// - few rows: each group of panels is streamed from memory once, for all rows; A is read row by
//   row. Bound by memory.
// - many rows: A is packed in tiles of rows; a group of panels is used for all tiles of a block of
//   rows that stays in the second-level cache. Bound by arithmetic.
#pragma once

#include "kernels/gemm_tile.h"

namespace pytransformer::kernels {
namespace {

// Bytes of A that a block of rows may fill.
constexpr int64_t kBlockBytes = 512 * 1024;
// Panels that several passes over few rows share.
constexpr int64_t kGroupPanels = 8;

// Rows [row, row + kRows) of the panels [panel, end), kPanels at a time, then half as many.
template <typename Format, int kRows, int kPanels = Cut<Format>::pass_panels(kRows)>
void stream_panels(const GemmArgs& args, int64_t row, int64_t panel, int64_t end) {
  const StridedRows<kRows> a = {args.a.words + row * args.a.ld, args.a.ld};
  for (; panel + kPanels <= end; panel += kPanels) {
    const auto tile = multiply_tile<Format, Cut<Format>::pass_chains(kRows), kRows, kPanels>(
        a, args, row, panel, {0, 1});
    store_tile(args, tile, row, panel);
  }
  if constexpr (kPanels > 1) {
    if (panel < end) stream_panels<Format, kRows, kPanels / 2>(args, row, panel, end);
  }
}

template <typename Format, int kRows = Cut<Format>::kPassRows>
void stream_rows(const GemmArgs& args, int64_t row, int64_t rows, int64_t panel, int64_t end) {
  if (rows == kRows) return stream_panels<Format, kRows>(args, row, panel, end);
  if constexpr (kRows > 1) stream_rows<Format, kRows - 1>(args, row, rows, panel, end);
}

// With more rows than one pass takes, the passes follow each other group by group of panels that
// stay in the cache.
template <typename Format>
void gemm_stream(const GemmArgs& args) {
  const BalancedCut passes = {args.m, ceil_divide(args.m, Cut<Format>::kPassRows)};
  const int64_t group = passes.parts == 1 ? args.panels : kGroupPanels;
  for (int64_t panel = 0; panel < args.panels; panel += group) {
    const int64_t end = smaller(panel + group, args.panels);
    for (int64_t pass = 0; pass < passes.parts; ++pass) {
      stream_rows<Format>(args, passes.begin(pass), passes.size(pass), panel, end);
    }
  }
}

// The fewest rows that a tile can have when more than kMaxStreamRows rows are cut evenly.
template <typename Format>
constexpr int least_tile_rows() {
  constexpr int64_t kTileRows = Cut<Format>::kTileRows;
  int64_t least = kTileRows;
  for (int64_t m = kMaxStreamRows + 1; m <= kMaxStreamRows + kTileRows; ++m) {
    least = smaller(least, m / ceil_divide(m, kTileRows));
  }
  return static_cast<int>(least);
}

template <typename Format, int kPanels, int kRows = Cut<Format>::kTileRows>
void packed_tile(const GemmArgs& args, int64_t row, int64_t rows, int64_t panel, Share share) {
  if (rows == kRows) {
    const PackedRows<kRows> a = {args.a.words + row * words_of(Format::kType, args.k)};
    const auto tile = multiply_tile<Format, 1, kRows, kPanels>(a, args, row, panel, share);
    store_tile(args, tile, row, panel);
    return;
  }
  if constexpr (kRows > least_tile_rows<Format>()) {
    packed_tile<Format, kPanels, kRows - 1>(args, row, rows, panel, share);
  }
}

template <typename Format, int kPanels = Cut<Format>::kTilePanels>
void packed_panels(const GemmArgs& args, const BalancedCut& cut, int64_t tile_begin,
                   int64_t tile_end, int64_t panel) {
  for (; panel + kPanels <= args.panels; panel += kPanels) {
    for (int64_t tile = tile_begin; tile < tile_end; ++tile) {
      packed_tile<Format, kPanels>(args, cut.begin(tile), cut.size(tile), panel,
                                   {tile - tile_begin, tile_end - tile_begin});
    }
  }
  if constexpr (kPanels > 1) {
    packed_panels<Format, kPanels / 2>(args, cut, tile_begin, tile_end, panel);
  }
}

template <typename Format>
BalancedCut tiles_of(int64_t m) {
  return {m, ceil_divide(m, Cut<Format>::kTileRows)};
}

template <typename Format>
void gemm_packed(const GemmArgs& args) {
  const BalancedCut cut = tiles_of<Format>(args.m);
  const int64_t tile_bytes = Cut<Format>::kTileRows * words_of(Format::kType, args.k) * 4;
  const int64_t blocks = ceil_divide(cut.parts * tile_bytes, kBlockBytes);
  const BalancedCut tiles = {cut.parts, smaller(blocks, cut.parts)};
  for (int64_t block = 0; block < tiles.parts; ++block) {
    packed_panels<Format>(args, cut, tiles.begin(block), tiles.begin(block + 1), 0);
  }
}

// Calls f with the format that `type` names.
template <typename F>
inline auto with_format(ComputeType type, F f) {
  switch (type) {
    case ComputeType::bfloat16:
      return f(BFloat16());
    case ComputeType::int8:
      return f(Int8());
    case ComputeType::int4:
      return f(Int4());
    default:
      return f(Float32());
  }
}

BalancedCut tiles_of(ComputeType type, int64_t m) {
  return with_format(type, [&](auto format) { return tiles_of<decltype(format)>(m); });
}

int64_t row_tiles(ComputeType type, int64_t m) { return tiles_of(type, m).parts; }

void gemm(const GemmArgs& args) {
  if (args.m == 0) return;
  with_format(args.b.type, [&](auto format) {
    if (args.m > kMaxStreamRows) {
      gemm_packed<decltype(format)>(args);
    } else {
      gemm_stream<decltype(format)>(args);
    }
  });
}

}  // namespace
}  // namespace pytransformer::kernels
