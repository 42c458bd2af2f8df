// The operations that encoder and decoder share. Each is called by all threads of a team with the
// same arguments and returns when the result is complete.
#pragma once

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
class GrowingBuffer {
 public:
  float* need(int64_t floats) {
    const auto count = static_cast<size_t>(floats);
    if (buffer_.size() < count) buffer_.resize_discard(count + count / 2);
    return buffer_.data();
  }

 private:
  simd::AlignedBuffer<float> buffer_;
};

// What one pass over `rows` rows through a stack of layers writes on its way.
struct StackBuffers {
  Rows x;         // [rows, width]: the residual stream
  Rows normed;    // [rows, width]: the norm of x where it comes before a layer
  Rows heads;     // [rows, 3 heads_width]: q, k and v, or the query alone
  Rows context;   // [rows, heads_width]: what attention gives
  Rows hidden;    // [rows, padded(d_ff)]
  float* packed;  // A operand of a product with many rows
};

class StackWorkspace {
 public:
  StackBuffers need(int64_t rows, const StackSpec& spec);

 private:
  GrowingBuffer x_, normed_, heads_, context_, hidden_, packed_;
};

// y = activation(W x + b) + residual (null: none; may be y).
void linear(const Thread& thread, const Linear& layer, int64_t rows, Rows x, float* packed, Rows y,
            kernels::Activation activation, const float* residual);

void layer_norm(const Thread& thread, const LayerNorm& norm, const StackSpec& spec, int64_t rows,
                Rows x, Rows y);

// x = embedding(ids) * scale + positions, then its norm if the model has one.
void embed(const Thread& thread, const Embedding& embedding, const StackSpec& spec, int64_t rows,
           const int32_t* ids, const int32_t* positions, Rows x);

// What a sublayer reads: x itself (post-norm) or its norm (pre-norm).
Rows sublayer_input(const Thread& thread, const LayerNorm& norm, const StackSpec& spec,
                    int64_t rows, const StackBuffers& buffers);

// x += output(context) and, with post-norm, x = norm(x).
void sublayer_output(const Thread& thread, const Linear& output, const LayerNorm& norm,
                     const StackSpec& spec, int64_t rows, Rows context,
                     const StackBuffers& buffers);

void feed_forward(const Thread& thread, const FeedForward& layer, const StackSpec& spec,
                  int64_t rows, const StackBuffers& buffers);

}  // namespace pytransformer::nn
