// One tile of a product: some rows times some panels, all of k, with the accumulators in registers.
#pragma once

#include "kernels/activation.h"
#include "kernels/formats.h"

namespace pytransformer::kernels {
namespace {

constexpr bool kManyRegisters = kRegisters >= 32;

template <typename T>
constexpr int kUnits = sizeof(T) / sizeof(F32x16);

// Rows for whose sums, `of_a_row` registers each, there is room beside so many registers.
constexpr int rows_beside(int registers, int of_a_row = 1) {
  const int rows = (kRegisters - registers) / of_a_row;
  return rows > 2 ? rows : 2;
}

// How the products of one format are cut so that accumulators, weights and one word of A fill the
// registers.
template <typename Format>
struct Cut {
  // Many rows.
  static constexpr int kTilePanels = kManyRegisters ? 2 : 1;
  static constexpr int kTileRows =
      kManyRegisters ? 12 : rows_beside(1 + kUnits<typename Format::Weight>);
  // Few rows: rows that share one pass over the weights.
  static constexpr int kPassRows = kManyRegisters ? 8 : kTileRows;
  // Panels at once: as many as the registers hold, so that the accumulators hide each other's
  // latency; more streams than six were measured to slow the caches down.
  static constexpr int pass_panels(int rows) {
    constexpr int kSums = kTileRows * kTilePanels;
    constexpr int kMost = kSums < 6 ? kSums : 6;
    const int panels = (kSums + 1) / rows;
    return panels > kMost ? kMost : panels > 1 ? panels : 1;
  }
  // Accumulators of one output, which take turns along k. One, where the order of k matters.
  static constexpr int pass_chains(int) { return 1; }
};

// Sums of integers are exact in any order, so one panel at a time is enough to fill the registers.
// Weights are then read as one stream: by a quarter faster than several from caches, and about as
// fast from memory.
template <>
struct Cut<Int8> {
  static constexpr int kTilePanels = kManyRegisters ? 2 : 1;
  static constexpr int kTileRows = kManyRegisters ? 12 : rows_beside(1 + kDotRegisters);
  static constexpr int kPassRows = kManyRegisters ? 8 : kTileRows;
  static constexpr int pass_panels(int rows) { return kManyRegisters && rows > 4 ? 2 : 1; }
  static constexpr int pass_chains(int rows) {
    return kManyRegisters ? (rows > 4 ? 1 : 4) : kRegisters >= 8 && rows <= 2 ? 2 : 1;
  }
};

template <>
struct Cut<Int4> {
  static constexpr int kTilePanels = 1;
  // A line makes two of weights, and a row has sums of two kinds.
  static constexpr int kTileRows = kManyRegisters ? 12 : rows_beside(2, 1 + kUnits<NibbleSum>);
  static constexpr int kPassRows = kManyRegisters ? 8 : kTileRows;
  static constexpr int pass_panels(int) { return 1; }
  static constexpr int pass_chains(int) { return 1; }
};

// The rows of A that a tile reads: the word at `i` of each, and the sums of their groups.
template <int kRows>
struct StridedRows {
  const uint32_t* words;
  int64_t ld;
  const uint32_t* at(int row, int64_t i) const { return words + row * ld + i; }
};

template <int kRows>
struct PackedRows {
  const uint32_t* words;
  const uint32_t* at(int row, int64_t i) const { return words + i * kRows + row; }
};

// Lines of panels that lie one behind another, as in a file. While they are read, those of the
// next tile of panels are asked for, each tile of rows asking for its share of them: hardware sees
// too late that several streams go on behind the end of a panel. A single stream it follows well;
// there, asking for one line in four was measured to be best, in caches and from memory.
struct PanelLines {
  const std::byte* data;
  int64_t panel_bytes;
  int64_t ahead;  // from a line to the first one that is asked for
  int64_t step;   // bytes asked for with each line

  const std::byte* at(int panel, int64_t i) const {
    return data + panel * panel_bytes + i * kLineBytes;
  }
  void prefetch(int panel, int64_t i) const {
    __builtin_prefetch(data + panel * panel_bytes + ahead + i * step, 0, 2);
  }
};

template <typename Format, int kRows, int kPanels>
struct Tile {
  typename Format::Sum v[kRows][kPanels];
};

// The words of one k, for all rows and panels. The side that fills fewer registers is held in them;
// the other one passes through.
template <typename Format, int kRows, int kPanels, typename A, typename B>
inline void multiply_line(const A& a, const B& b, int64_t i, Tile<Format, kRows, kPanels>& tile) {
  using Value = typename Format::Value;
  using Weight = typename Format::Weight;
  if constexpr ((kRows - 1) * sizeof(Value) < (kPanels - 1) * sizeof(Weight)) {
    Value x[kRows];
#pragma GCC unroll 16
    for (int r = 0; r < kRows; ++r) x[r] = Format::value(a.at(r, i));
#pragma GCC unroll 16
    for (int p = 0; p < kPanels; ++p) {
      const Weight w = Format::weight(b.at(p, i));
#pragma GCC unroll 16
      for (int r = 0; r < kRows; ++r) {
        tile.v[r][p] = Format::multiply_add(tile.v[r][p], x[r], w);
      }
    }
  } else {
    Weight w[kPanels];
#pragma GCC unroll 16
    for (int p = 0; p < kPanels; ++p) w[p] = Format::weight(b.at(p, i));
#pragma GCC unroll 16
    for (int r = 0; r < kRows; ++r) {
      const Value x = Format::value(a.at(r, i));
#pragma GCC unroll 16
      for (int p = 0; p < kPanels; ++p) {
        tile.v[r][p] = Format::multiply_add(tile.v[r][p], x, w[p]);
      }
    }
  }
}

template <int kPanels, typename B>
inline void prefetch_lines(const B& b, int64_t i) {
#pragma GCC unroll 16
  for (int p = 0; p < kPanels; ++p) b.prefetch(p, i);
}

// All k, line by line.
template <typename Format, int kChains, int kRows, int kPanels, typename A, typename B>
inline Tile<Format, kRows, kPanels> multiply(const A& a, const B& b, int64_t words) {
  Tile<Format, kRows, kPanels> tile = {};
  if constexpr (kChains == 1) {
    for (int64_t i = 0; i < words; ++i) {
      prefetch_lines<kPanels>(b, i);
      multiply_line(a, b, i, tile);
    }
  } else {
    Tile<Format, kRows, kPanels> chains[kChains] = {};
    for (int64_t i = 0; i < words; i += kChains) {
      prefetch_lines<kPanels>(b, i);
#pragma GCC unroll 16
      for (int c = 0; c < kChains; ++c) multiply_line(a, b, i + c, chains[c]);
    }
#pragma GCC unroll 16
    for (int c = 0; c < kChains; ++c) {
#pragma GCC unroll 16
      for (int r = 0; r < kRows; ++r) {
#pragma GCC unroll 16
        for (int p = 0; p < kPanels; ++p) tile.v[r][p] = tile.v[r][p] + chains[c].v[r][p];
      }
    }
  }
  return tile;
}

// The same by groups of 32: integers within a group, float32 from group to group.
template <int kRows, typename A>
inline Tile<Int4, kRows, 1> multiply_groups(const A& a, const GemmArgs& args, int64_t row,
                                            int64_t panel) {
  const int64_t groups = groups_of(args.k);
  const std::byte* line = args.b.data + panel * args.b.panel_bytes;
  const int32_t* const sums = args.a.sums + row * groups;
  Tile<Int4, kRows, 1> tile = {};
  for (int64_t g = 0; g < groups; ++g) {
    NibbleSum total[kRows] = {};
#pragma GCC unroll 4
    for (int64_t i = 0; i < Int4::kLines; ++i, line += kLineBytes) {
      const int64_t word = (g * Int4::kLines + i) * 2;
      const I32x16 both = load_words(line);
      __builtin_prefetch(line + 4 * args.b.panel_bytes, 0, 2);
      const I32x16 lower = Int4::lower_nibbles(both);
      const I32x16 upper = Int4::upper_nibbles(both);
#pragma GCC unroll 16
      for (int r = 0; r < kRows; ++r) {
        total[r] = dot_nibbles(total[r], broadcast_bytes(a.at(r, word)), lower);
        total[r] = dot_nibbles(total[r], broadcast_bytes(a.at(r, word + 1)), upper);
      }
    }
    const F32x16 scale = Int4::scale(args.b, panel, g);
#pragma GCC unroll 16
    for (int r = 0; r < kRows; ++r) {
      const I32x16 offset = broadcast_word(Int4::kOffset * sums[r * groups + g]);
      tile.v[r][0] = fma(to_float(widen(total[r]) - offset), scale, tile.v[r][0]);
    }
  }
  return tile;
}

// Which share of the next panels to ask for: `tile` of `tiles` tiles of rows.
struct Share {
  int64_t tile;
  int64_t tiles;
};

template <typename Format, int kChains, int kRows, int kPanels, typename A>
inline Tile<Format, kRows, kPanels> multiply_tile(const A& a, const GemmArgs& args, int64_t row,
                                                  int64_t panel, Share share) {
  if constexpr (Format::kType == ComputeType::int4) {
    return multiply_groups<kRows>(a, args, row, panel);
  } else {
    const int64_t bytes = args.b.panel_bytes;
    const PanelLines b = {args.b.data + panel * bytes, bytes,
                          kPanels * bytes + bytes / share.tiles * share.tile,
                          ceil_divide(kLineBytes, share.tiles)};
    return multiply<Format, kChains, kRows, kPanels>(a, b, words_of(Format::kType, args.k));
  }
}

[[gnu::noinline]] void activate_tile(const GemmArgs& args, float* tile, int64_t row, int64_t rows,
                                     int64_t panel, int64_t panels) {
  const int64_t width = panels * kLanes;
  const int64_t column = panel * kLanes;
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

// Bias, activation and residual, on the way from the registers to C. An activation that takes many
// registers of its own works on a copy in the first-level cache.
template <typename Format, int kRows, int kPanels>
inline void store_tile(const GemmArgs& args, const Tile<Format, kRows, kPanels>& sums, int64_t row,
                       int64_t panel) {
  const int64_t column = panel * kLanes;
  F32x16 bias[kPanels] = {};
  if (args.bias != nullptr) {
    for (int p = 0; p < kPanels; ++p) bias[p] = load(args.bias + column + p * kLanes);
  }
  alignas(64) float copy[kRows * kPanels * kLanes];
  const bool in_place = args.activation == Activation::none;
  float* const tile = in_place ? args.c + row * args.ldc + column : copy;
  const int64_t ld = in_place ? args.ldc : kPanels * kLanes;
  const float* const residual =
      args.residual == nullptr ? nullptr : args.residual + row * args.ldr + column;
#pragma GCC unroll 16
  for (int r = 0; r < kRows; ++r) {
#pragma GCC unroll 16
    for (int p = 0; p < kPanels; ++p) {
      F32x16 x = Format::result(sums.v[r][p], bias[p], args, row + r, panel + p);
      if (residual != nullptr && in_place) x = x + load(residual + r * args.ldr + p * kLanes);
      store(tile + r * ld + p * kLanes, x);
    }
  }
  if (!in_place) activate_tile(args, copy, row, kRows, panel, kPanels);
}

}  // namespace
}  // namespace pytransformer::kernels
