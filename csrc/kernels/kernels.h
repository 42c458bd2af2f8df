// The arithmetic of the engine, on raw pointers, shapes and strides; it knows no model.
//
// One source per operation, compiled once per instruction set into a table of function pointers.
// All vectors are padded to a multiple of 16 numbers with zeros ("padded" below), so only
// layer_norm, softmax and reduce_logits ever see a tail. Strides and sizes count elements.
//
// Numeric contract: every output element of a matrix product has one accumulator, fed in the order
// of k with fused multiply-adds, whatever m is; every reduction runs over 16 virtual lanes, folded
// in one fixed tree (lane i with i + 8, then i + 4, i + 2, i + 1); exp, tanh, erf and log are
// polynomials of our own. So all instruction sets with fused multiply-add give the same bits.
#pragma once

#include <cstddef>
#include <cstdint>

#include "simd/isa_id.h"

namespace pytransformer::kernels {

inline constexpr int64_t kLanes = 16;
// Up to so many rows a product streams the weights and reads A where it lies; beyond, A is packed.
inline constexpr int64_t kMaxStreamRows = 16;
// Slots of the self-attention cache that lie together in one chunk of memory.
inline constexpr int64_t kSlotsPerChunk = 16;
// No instruction set packs more rows in one tile.
inline constexpr int64_t kMaxTileRows = 12;
// A whole number of rounds of probe_arithmetic's chains, whatever the number of registers.
inline constexpr int64_t kProbeProducts = 48;

constexpr int64_t padded(int64_t n) { return (n + kLanes - 1) / kLanes * kLanes; }

// `total` cut in `parts` parts whose sizes differ by at most one.
struct BalancedCut {
  int64_t total;
  int64_t parts;

  constexpr int64_t begin(int64_t part) const {
    const int64_t larger = total % parts;
    return part * (total / parts) + (part < larger ? part : larger);
  }
  constexpr int64_t size(int64_t part) const {
    return total / parts + (part < total % parts ? 1 : 0);
  }
};

enum class Activation : int32_t { none, relu, gelu, gelu_tanh, gelu_sigmoid, silu, tanh };

// In which numbers weights are stored and products computed (docs/native-format.md). Sums are exact
// integers or float32; bfloat16 and int8 weights meet activations of their own kind, int4 weights
// meet int8.
enum class ComputeType : int32_t { float32, bfloat16, int8, int4 };

// Weights and activations are made of words of 32 bits along k; one line of a panel is the word of
// each of its 16 outputs. A line of int4 weights holds two words of activations' worth.
inline constexpr int64_t kLineBytes = 64;
// Weights of int4 that share a scale.
inline constexpr int64_t kGroupSize = 32;

constexpr int64_t groups_of(int64_t k) { return (k + kGroupSize - 1) / kGroupSize; }

// Words of one row of k activations (k a multiple of 16).
constexpr int64_t words_of(ComputeType type, int64_t k) {
  switch (type) {
    case ComputeType::float32:
      return k;
    case ComputeType::bfloat16:
      return k / 2;
    case ComputeType::int8:
      return k / 4;
    case ComputeType::int4:
      return groups_of(k) * kGroupSize / 4;
  }
  return 0;
}

// A matrix of weights [outputs, k] in panels of 16 outputs.
struct Panels {
  ComputeType type;
  const std::byte* data;  // lines of one panel one behind another, panels panel_bytes apart
  int64_t panel_bytes;
  // int8: float [16] for each panel; int4: bfloat16 [groups, 16]; else null.
  const std::byte* scales;
  int64_t scale_bytes;  // from panel to panel

  Panels from(int64_t panel) const {
    return {type, data + panel * panel_bytes, panel_bytes,
            scales == nullptr ? nullptr : scales + panel * scale_bytes, scale_bytes};
  }
};

// The left side of a product, as prepare_rows wrote it (or, with float32 and few rows, the
// activations themselves).
struct Operand {
  const uint32_t* words;  // rows ld apart, or packed in tiles if m > kMaxStreamRows
  int64_t ld;
  // int8 and int4: a number is about scale * its integer.
  const float* scales;  // [m]
  const int32_t* sums;  // of a row's integers: int8 [m], int4 by groups [m, groups_of(k)]
};

struct PrepareArgs {
  ComputeType type;
  int64_t m;
  int64_t k;
  const float* x;  // [m, k], rows ldx apart
  int64_t ldx;
  // Which tiles of rows to write; with m <= kMaxStreamRows, which rows, ld words apart. Threads
  // share them out.
  int64_t unit_begin;
  int64_t unit_end;
  uint32_t* words;  // m * words_of(type, k)
  int64_t ld;
  float* scales;  // as in Operand; not used by float32 and bfloat16
  int32_t* sums;
  uint32_t* scratch;  // kMaxTileRows * words_of(type, k)
};

// C [m, 16 panels] = activation(A B^T + bias) + residual.
struct GemmArgs {
  int64_t m;
  int64_t k;
  int64_t panels;
  Operand a;
  Panels b;
  float* c;  // [m, 16 panels], rows ldc apart
  int64_t ldc;
  const float* bias;      // [16 panels] or null
  const float* residual;  // [m, 16 panels], rows ldr apart, or null; may be c itself
  int64_t ldr;
  Activation activation;
};

// By what a norm divides: the root of the variance plus epsilon, the root of the mean square plus
// epsilon (and no mean is taken off), or the unbiased standard deviation plus epsilon.
enum class Norm : int32_t { layer, rms, deviation };

struct LayerNormArgs {
  Norm kind;
  int64_t rows;
  int64_t columns;  // true width: mean and variance are taken over it
  const float* x;   // rows ldx apart, padded(columns) readable
  int64_t ldx;
  const float* weight;  // [padded(columns)], zero in the padding
  const float* bias;
  float epsilon;
  float* y;  // rows ldy apart, padded(columns) written, zero in the padding; may be x
  int64_t ldy;
};

// In which numbers keys and values are kept; they are widened to float32 where they are read.
enum class CacheType : int32_t { float32, bfloat16 };

constexpr int64_t bytes_of(CacheType type) { return type == CacheType::float32 ? 4 : 2; }

// One head, many queries over the same keys: out = softmax(q k^T scale) v.
struct AttentionArgs {
  int64_t queries;
  int64_t keys;
  int64_t dim;  // padded head size
  float scale;
  const float* q;  // [queries, dim], rows ldq apart
  int64_t ldq;
  CacheType type;                // of keys and values
  const std::byte* packed_keys;  // [padded(keys) / 16, dim, 16] as pack_keys wrote them
  const std::byte* v;            // [keys, dim], rows v_bytes apart
  int64_t v_bytes;
  float* out;  // [queries, dim], rows ldo apart
  int64_t ldo;
  float* scratch;  // attention_scratch(keys) floats, 64-byte aligned
  // Bytes from the keys and values to those that will be read next, which are asked for meanwhile;
  // 0 if nothing is known of them.
  int64_t ahead;
  const float* bias;  // [queries, keys], added to the scaled scores, rows ld_bias apart, or null
  int64_t ld_bias;
  float* weights;  // out: [queries, keys] of the softmax, rows ld_weights apart, or null
  int64_t ld_weights;
};

// One query of several heads over cache slots, in the order given. The key of slot s lies in
// chunks[s / kSlotsPerChunk] at key_offset + (s % kSlotsPerChunk) * dim numbers, likewise its
// value; those of the next head head_bytes further on.
struct CachedAttentionArgs {
  int64_t heads;
  int64_t dim;  // padded head size; head h reads [h * dim, (h + 1) * dim) of q and writes it of out
  int64_t count;
  float scale;
  const float* q;
  CacheType type;
  const std::byte* const* chunks;
  int64_t key_offset;  // in bytes, as the next two
  int64_t value_offset;
  int64_t head_bytes;
  const int32_t* slots;  // [count]
  float* out;
  float* scratch;     // padded(count) floats, 64-byte aligned
  const float* bias;  // [heads, count], added to the scaled scores, bias_stride apart, or null
  int64_t bias_stride;
  float* weights;  // out: [heads, count] of the softmax, heads weights_stride apart, or null
  int64_t weights_stride;
};

// Vectors of the distances between a query and its keys (Shaw et al. 2018): key i is i - position
// away; what is further than `most` counts as `most`.
struct DistanceArgs {
  int64_t dim;    // padded head size
  int64_t count;  // keys
  int64_t position;
  int64_t most;
  const float* table;  // [2 * most + 1, dim]; row d + most belongs to the distance d
};

// Queries or keys, each head of `dim` numbers: the first `half` numbers of a head are turned
// against the next `half`, by angles whose cosines and sines are given.
struct RotaryArgs {
  int64_t heads;
  int64_t dim;
  int64_t half;
  const float* cosines;  // [half]
  const float* sines;
  float* x;  // [heads, dim]
};

// One step of the simpler simple recurrent unit: state = f * previous + (1 - f) * input with
// f = sigmoid(forget), and out = relu(state).
struct RecurrentArgs {
  int64_t count;  // a multiple of 16, as in the next struct
  const float* input;
  const float* forget;
  const float* previous;  // null: zeros
  float* state;
  float* out;
};

// One step of a running mean: total = previous + x, mean = total / steps.
struct RunningMeanArgs {
  int64_t count;
  const float* x;
  const float* previous;  // null: zeros
  int64_t steps;
  float* total;
  float* mean;
};

// y[r] = scale * (row ids[r] of the packed embedding, or zeros if ids[r] < 0) +
// table[positions[r]].
struct EmbedArgs {
  int64_t rows;
  int64_t k;  // padded d_model
  const int32_t* ids;
  Panels embedding;
  float scale;
  const float* table;  // [.., k] or null
  const int32_t* positions;
  float* y;  // rows ldy apart
  int64_t ldy;
};

// The best candidates so far, best first; equal logits are ordered by id, lowest first. NaN stands
// before every number.
struct TopK {
  float* logits;
  int32_t* ids;
  int32_t capacity;
  int32_t count;
};

struct Table {
  simd::Isa isa;
  // Name of the instruction set that the compiler was told to use for this table's own code.
  const char* compiled_isa;

  void (*gemm)(const GemmArgs& args);
  // How many tiles of rows a left side of m rows is packed in; tile i holds the rows that
  // BalancedCut{m, row_tiles}.begin(i) and size(i) say.
  int64_t (*row_tiles)(ComputeType type, int64_t m);
  void (*prepare_rows)(const PrepareArgs& args);

  void (*layer_norm)(const LayerNormArgs& args);
  // In place, over the true columns of each row; what lies behind them up to padded(columns)
  // becomes 0.
  void (*softmax)(float* x, int64_t rows, int64_t columns, int64_t ld);
  void (*activate)(Activation activation, float* x, int64_t count);  // count % 16 == 0
  void (*exp)(float* x, int64_t count);                              // likewise
  void (*tanh)(float* x, int64_t count);
  void (*erf)(float* x, int64_t count);

  // Keys [count, dim] with rows ldk apart -> [padded(count) / 16, dim, 16], zero in the padding.
  void (*pack_keys)(CacheType type, const float* keys, int64_t ldk, int64_t count, int64_t dim,
                    std::byte* out);
  // Rows [count, dim], ldx apart -> [count, dim] without gaps.
  void (*store_rows)(CacheType type, const float* x, int64_t ldx, int64_t count, int64_t dim,
                     std::byte* out);
  int64_t (*attention_scratch)(int64_t keys);
  void (*attention)(const AttentionArgs& args);
  void (*attention_cached)(const CachedAttentionArgs& args);

  // out[i] = scale * (q · vector of the distance of key i).
  void (*distance_scores)(const DistanceArgs& args, const float* q, float scale, float* out);
  // out += the sum over keys of weights[i] * vector of the distance of key i. `scratch`: one number
  // for each row of the table.
  void (*distance_values)(const DistanceArgs& args, const float* weights, float* scratch,
                          float* out);
  void (*rotate)(const RotaryArgs& args);
  void (*recur)(const RecurrentArgs& args);
  void (*running_mean)(const RunningMeanArgs& args);
  // y *= x, y += x, and y = sigmoid(gate) * y + sigmoid(other_gate) * other; count % 16 == 0.
  void (*multiply)(const float* x, int64_t count, float* y);
  void (*add)(const float* x, int64_t count, float* y);
  void (*mix)(const float* gate, const float* other_gate, const float* other, int64_t count,
              float* y);

  void (*embed)(const EmbedArgs& args);

  // One row of one tile of the vocabulary: `count` logits of the tokens first_id, first_id + 1, …
  // Enters them into `top` unless it is null. If `sum` is not null, *max becomes their maximum and
  // *sum the sum of exp(logit - *max).
  void (*reduce_logits)(const float* logits, int64_t count, int32_t first_id, float* max,
                        float* sum, TopK* top);
  // Enters the candidates of one list into another.
  void (*merge_top)(const TopK& from, TopK* into);
  // log of the sum over all tiles of sum[t] * exp(max[t]).
  float (*log_sum_exp)(const float* max, const float* sum, int64_t tiles);

  // What the machine can do at best, for benchmarks: at least `rounds` times kProbeProducts
  // independent products of one line with one word, each of arithmetic_per_probe operations; the
  // sum of about count numbers, read as caches or as memory give them fastest.
  float (*probe_arithmetic)(ComputeType type, int64_t rounds);
  int64_t (*arithmetic_per_probe)(ComputeType type);
  float (*probe_reads)(const float* x, int64_t count, bool from_memory);
};

// The table of `isa`, which must be supported.
const Table& table(simd::Isa isa);

}  // namespace pytransformer::kernels
