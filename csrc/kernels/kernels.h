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
// A whole number of rounds of probe_arithmetic's chains, whatever the number of registers.
inline constexpr int64_t kProbeProducts = 48;

constexpr int64_t padded(int64_t n) { return (n + kLanes - 1) / kLanes * kLanes; }

enum class Activation : int32_t { none, relu, gelu, gelu_tanh, silu };

// A matrix [outputs, k] in panels of 16 outputs: element (16 p + j, i) lies at
// data[p * panel_stride + i * k_stride + j].
struct Panels {
  const float* data;
  int64_t panel_stride;
  int64_t k_stride;
};

// C [m, 16 panels] = activation(A B^T + bias) + residual.
struct GemmArgs {
  int64_t m;
  int64_t k;
  int64_t panels;
  const float* a;  // [m, k], rows lda apart; read if m <= kMaxStreamRows
  int64_t lda;
  const float* packed_a;  // all m rows as pack_rows wrote them; read if m > kMaxStreamRows
  Panels b;
  float* c;  // [m, 16 panels], rows ldc apart
  int64_t ldc;
  const float* bias;      // [16 panels] or null
  const float* residual;  // [m, 16 panels], rows ldr apart, or null; may be c itself
  int64_t ldr;
  Activation activation;
};

struct LayerNormArgs {
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

// One head, many queries over the same keys: out = softmax(q k^T scale) v.
struct AttentionArgs {
  int64_t queries;
  int64_t keys;
  int64_t dim;  // padded head size
  float scale;
  const float* q;  // [queries, dim], rows ldq apart
  int64_t ldq;
  const float* packed_keys;  // [padded(keys) / 16, dim, 16] as pack_keys wrote them
  const float* v;            // [keys, dim], rows ldv apart
  int64_t ldv;
  float* out;  // [queries, dim], rows ldo apart
  int64_t ldo;
  float* scratch;  // attention_scratch(keys) floats, 64-byte aligned
};

// One query of several heads over cache slots, in the order given. Slot s lies in
// chunks[s / kSlotsPerChunk] at key_offset + (s % kSlotsPerChunk) * row_stride, likewise its value.
struct CachedAttentionArgs {
  int64_t heads;
  int64_t dim;  // padded head size; head h reads [h * dim, (h + 1) * dim) of q, key, value and out
  int64_t count;
  float scale;
  const float* q;
  const float* const* chunks;
  int64_t key_offset;
  int64_t value_offset;
  int64_t row_stride;
  const int32_t* slots;  // [count]
  float* out;
  float* scratch;  // padded(count) floats, 64-byte aligned
};

// y[r] = scale * (row ids[r] of the packed embedding) + table[positions[r]].
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
  // A [m, k] is packed in tiles of rows; row_tiles(m) tiles, of which those in [tile_begin,
  // tile_end) are written, so that threads can share the work. out holds m * k floats.
  int64_t (*row_tiles)(int64_t m);
  void (*pack_rows)(const float* a, int64_t lda, int64_t m, int64_t k, int64_t tile_begin,
                    int64_t tile_end, float* out);

  void (*layer_norm)(const LayerNormArgs& args);
  // In place, over the true columns of each row; what lies behind them up to padded(columns)
  // becomes 0.
  void (*softmax)(float* x, int64_t rows, int64_t columns, int64_t ld);
  void (*activate)(Activation activation, float* x, int64_t count);  // count % 16 == 0
  void (*exp)(float* x, int64_t count);                              // likewise
  void (*tanh)(float* x, int64_t count);
  void (*erf)(float* x, int64_t count);

  // Keys [count, dim] with rows ldk apart -> [padded(count) / 16, dim, 16], zero in the padding.
  void (*pack_keys)(const float* keys, int64_t ldk, int64_t count, int64_t dim, float* out);
  int64_t (*attention_scratch)(int64_t keys);
  void (*attention)(const AttentionArgs& args);
  void (*attention_cached)(const CachedAttentionArgs& args);

  void (*embed)(const EmbedArgs& args);

  // One row of one tile of the vocabulary: `count` logits of the tokens first_id, first_id + 1, …
  // Enters them into `top`. If `sum` is not null, *max becomes their maximum and *sum the sum of
  // exp(logit - *max).
  void (*reduce_logits)(const float* logits, int64_t count, int32_t first_id, float* max,
                        float* sum, TopK* top);
  // Enters the candidates of one list into another.
  void (*merge_top)(const TopK& from, TopK* into);
  // log of the sum over all tiles of sum[t] * exp(max[t]).
  float (*log_sum_exp)(const float* max, const float* sum, int64_t tiles);

  // What the machine can do at best, for benchmarks: at least `rounds` times kProbeProducts
  // independent products of 16 lanes; the sum of count numbers, as fast as memory gives them.
  float (*probe_arithmetic)(int64_t rounds);
  float (*probe_reads)(const float* x, int64_t count);
};

// The table of `isa`, which must be supported.
const Table& table(simd::Isa isa);

}  // namespace pytransformer::kernels
