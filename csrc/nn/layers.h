// The operations that encoder and decoder share, as one thread of the team runs them.
#pragma once

#include <span>
#include <vector>

#include "kernels/kernels.h"
#include "nn/model.h"
#include "nn/team.h"
#include "simd/aligned.h"

namespace pytransformer::nn {

// Rows of activations; `stride` counts elements.
struct Rows {
  float* data;
  int64_t stride;
  float* row(int64_t i) const { return data + i * stride; }
};

// A buffer that grows and never shrinks; what it held is lost when it grows.
template <typename T>
class GrowingBuffer {
 public:
  T* need(int64_t size) {
    if (static_cast<int64_t>(buffer_.size()) < size) {
      buffer_.resize_discard(static_cast<size_t>(grown(size)));
    }
    return buffer_.data();
  }
  // Most that it takes as long as no more than `size` is needed at once.
  static int64_t bytes(int64_t size) {
    return simd::allocated(grown(size) * static_cast<int64_t>(sizeof(T)));
  }

 private:
  static int64_t grown(int64_t size) { return size + size / 2; }

  simd::AlignedBuffer<T> buffer_;
};

// The left side of a product while it is written.
struct OperandBuffer {
  uint32_t* words;
  float* scales;
  int32_t* sums;
};

// What one pass over `rows` rows through a stack of layers writes on its way.
struct StackBuffers {
  int64_t rows;
  Rows x;                 // [rows, width]: the residual stream
  Rows normed;            // [rows, width]: the norm of x where the model keeps both
  Rows heads;             // [rows, 3 heads_width]: q, k and v, or the query alone; or 2 gates
  Rows context;           // [rows, heads_width or width]: what attention or its like gives
  Rows hidden;            // [rows, padded(d_ff), or the width between an average's layers]
  Rows hidden_gate;       // likewise
  OperandBuffer operand;  // of all threads together
  // Each thread's own: rows of x (kOwnRows), its operand, and scratch to pack a tile.
  std::vector<Rows> own_normed;
  std::vector<OperandBuffer> own_operand;
  std::vector<uint32_t*> tile;
};

// Up to so many rows every thread normalises and converts for itself, because that takes less time
// than to wait for the others.
inline constexpr int64_t kOwnRows = 4;

class StackWorkspace {
 public:
  // Valid until the next call.
  const StackBuffers& need(int64_t rows, const StackSpec& spec, int threads);
  // Most that it takes as long as no pass has more rows.
  static int64_t bytes(int64_t rows, const StackSpec& spec, int threads);

 private:
  StackBuffers buffers_;
  GrowingBuffer<float> x_, normed_, heads_, context_, hidden_, hidden_gate_, scales_, own_normed_;
  GrowingBuffer<uint32_t> words_, tiles_;
  GrowingBuffer<int32_t> sums_;
};

// One thread's part of a pass of rows through a stack of layers. All threads call the same methods
// in the same order. What a method returns may be read at once; what it writes for other threads
// may be read after the next meet().
//
// A sublayer runs: enter(), products of what it gives, leave(). Where a norm stands behind its
// sublayer ("post"), it is applied by the next enter().
class Pass {
 public:
  Pass(const Thread& thread, const StackSpec& spec, const StackBuffers& buffers)
      : thread_(thread), spec_(spec), buffers_(buffers), rows_(buffers.rows) {}

  const Thread& thread() const { return thread_; }
  const StackBuffers& buffers() const { return buffers_; }

  // x = embedding(ids) * scale + positions; its norm, if the model has one, is left to enter().
  void embed(const Embedding& embedding, const int32_t* ids, const int32_t* positions);

  // x = the product of the vectors [rows, vectors.inputs] + positions, likewise.
  void embed_vectors(const Embedding& embedding, Rows vectors, const int32_t* positions);

  // The input of the sublayer whose own norm is `norm`, for weights of `type`.
  kernels::Operand enter(const LayerNorm& norm, kernels::ComputeType type);
  // The same input as numbers, until the next enter().
  Rows input() const { return input_; }
  // x += output(context), and remembers the norm behind it.
  void leave(const Linear& output, const LayerNorm& norm, Rows context);
  // x += context, likewise.
  void leave(const LayerNorm& norm, Rows context);
  // The norm that is still to come at the end of the stack (`final_norm`: null pointers if none):
  // as an operand, or in x itself.
  kernels::Operand finish(const LayerNorm& final_norm, kernels::ComputeType type);
  void finish(const LayerNorm& final_norm);

  // Rows of activations, complete in all threads, as the left side of products.
  kernels::Operand convert(Rows x, int64_t width, kernels::ComputeType type);
  // The same for some of the rows as a left side of their own, by this thread alone; whoever wants
  // to read what others converted so asks for the operand after the next meet().
  void convert_rows(int64_t first, int64_t rows, kernels::ComputeType type) const;
  kernels::Operand operand_of_rows(int64_t first, int64_t rows, kernels::ComputeType type) const;
  // y = activation(W x + b) for the panels given.
  void product(const Linear& layer, Range panels, const kernels::Operand& x, Rows y,
               kernels::Activation activation = kernels::Activation::none) const;
  // The same for the heads of this thread in each of `parts` projections to all heads, which stand
  // one behind another; where there are more threads than heads, for a share of all panels.
  void product_of_heads(const Linear& layer, int64_t parts, const kernels::Operand& x,
                        Rows y) const;
  Range own_heads() const { return thread_.slice(spec_.num_heads); }
  // This thread's share of the panels of x.
  Range own_panels() const { return thread_.slice(spec_.width() / kernels::kLanes); }

  void feed_forward(const FeedForward& layer);

  // Goes on with these rows alone, which are in order and become the first ones of x.
  void keep(std::span<const int32_t> rows);

 private:
  bool alone() const { return rows_ <= kOwnRows; }
  bool is_post() const { return spec_.norm_position == NormPosition::post; }
  kernels::Operand normalised(const LayerNorm& norm, kernels::ComputeType type, bool in_place);
  void normalise(const LayerNorm& norm, int64_t first, int64_t rows, Rows from, Rows to) const;
  kernels::Operand prepared(const LayerNorm& norm, Rows x, Rows normed, int64_t width,
                            kernels::ComputeType type);

  kernels::GemmArgs gemm_args(const Linear& layer, Range panels, const kernels::Operand& x,
                              Rows y) const;

  const Thread& thread_;
  const StackSpec& spec_;
  const StackBuffers& buffers_;
  int64_t rows_;
  LayerNorm pending_ = {};  // the norm behind the last sublayer, not yet applied
  Rows residual_ = {};
  Rows input_ = {};
};

}  // namespace pytransformer::nn
