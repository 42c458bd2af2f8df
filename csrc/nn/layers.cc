#include "nn/layers.h"

#include <algorithm>

namespace pytransformer::nn {

using kernels::Activation;
using kernels::kLanes;
using kernels::kMaxStreamRows;
using kernels::padded;

StackBuffers StackWorkspace::need(int64_t rows, const StackSpec& spec) {
  const int64_t width = spec.width();
  const int64_t heads = spec.heads_width();
  const int64_t hidden = padded(spec.d_ff);
  StackBuffers buffers = {};
  buffers.x = {x_.need(rows * width), width};
  buffers.normed = {normed_.need(rows * width), width};
  buffers.heads = {heads_.need(rows * 3 * heads), 3 * heads};
  buffers.context = {context_.need(rows * heads), heads};
  buffers.hidden = {hidden_.need(rows * hidden), hidden};
  buffers.packed =
      packed_.need(rows > kMaxStreamRows ? rows * std::max({width, heads, hidden}) : 0);
  return buffers;
}

void linear(const Thread& thread, const Linear& layer, int64_t rows, Rows x, float* packed, Rows y,
            Activation activation, const float* residual) {
  const kernels::Table& kernels = thread.kernels();
  if (rows > kMaxStreamRows) {
    const Range tiles = thread.slice(kernels.row_tiles(rows));
    kernels.pack_rows(x.data, x.stride, rows, layer.inputs, tiles.begin, tiles.end, packed);
    thread.meet();
  }
  const Range panels = thread.slice(layer.panels());
  const int64_t column = panels.begin * kLanes;
  kernels::GemmArgs args = {};
  args.m = rows;
  args.k = layer.inputs;
  args.panels = panels.size();
  args.a = x.data;
  args.lda = x.stride;
  args.packed_a = packed;
  args.b = layer.weight;
  args.b.data += panels.begin * layer.weight.panel_stride;
  args.c = y.data + column;
  args.ldc = y.stride;
  args.bias = layer.bias == nullptr ? nullptr : layer.bias + column;
  args.residual = residual == nullptr ? nullptr : residual + column;
  args.ldr = y.stride;
  args.activation = activation;
  if (args.panels > 0) kernels.gemm(args);
  thread.meet();
}

void layer_norm(const Thread& thread, const LayerNorm& norm, const StackSpec& spec, int64_t rows,
                Rows x, Rows y) {
  const Range slice = thread.slice(rows);
  kernels::LayerNormArgs args = {};
  args.rows = slice.size();
  args.columns = spec.d_model;
  args.x = x.row(slice.begin);
  args.ldx = x.stride;
  args.weight = norm.weight;
  args.bias = norm.bias;
  args.epsilon = spec.norm_epsilon;
  args.y = y.row(slice.begin);
  args.ldy = y.stride;
  thread.kernels().layer_norm(args);
  thread.meet();
}

void embed(const Thread& thread, const Embedding& embedding, const StackSpec& spec, int64_t rows,
           const int32_t* ids, const int32_t* positions, Rows x) {
  const Range slice = thread.slice(rows);
  kernels::EmbedArgs args = {};
  args.rows = slice.size();
  args.k = spec.width();
  args.ids = ids + slice.begin;
  args.embedding = embedding.weight;
  args.scale = spec.embedding_scale;
  args.table = embedding.positions;
  args.positions = positions + slice.begin;
  args.y = x.row(slice.begin);
  args.ldy = x.stride;
  thread.kernels().embed(args);
  thread.meet();
  if (embedding.norm.weight != nullptr) layer_norm(thread, embedding.norm, spec, rows, x, x);
}

Rows sublayer_input(const Thread& thread, const LayerNorm& norm, const StackSpec& spec,
                    int64_t rows, const StackBuffers& buffers) {
  if (spec.norm_position == NormPosition::post) return buffers.x;
  layer_norm(thread, norm, spec, rows, buffers.x, buffers.normed);
  return buffers.normed;
}

void sublayer_output(const Thread& thread, const Linear& output, const LayerNorm& norm,
                     const StackSpec& spec, int64_t rows, Rows context,
                     const StackBuffers& buffers) {
  linear(thread, output, rows, context, buffers.packed, buffers.x, Activation::none,
         buffers.x.data);
  if (spec.norm_position == NormPosition::post) {
    layer_norm(thread, norm, spec, rows, buffers.x, buffers.x);
  }
}

void feed_forward(const Thread& thread, const FeedForward& layer, const StackSpec& spec,
                  int64_t rows, const StackBuffers& buffers) {
  const Rows input = sublayer_input(thread, layer.norm, spec, rows, buffers);
  linear(thread, layer.up, rows, input, buffers.packed, buffers.hidden, spec.activation, nullptr);
  sublayer_output(thread, layer.down, layer.norm, spec, rows, buffers.hidden, buffers);
}

}  // namespace pytransformer::nn
