#include "nn/encoder.h"

#include <algorithm>
#include <cstring>

namespace pytransformer::nn {

using kernels::Activation;
using kernels::padded;

Rows Encoder::run(std::span<const std::span<const int32_t>> sentences) {
  const StackSpec& spec = model_.spec().encoder;
  sentences_.clear();
  ids_.clear();
  positions_.clear();
  int64_t longest = 0;
  for (const std::span<const int32_t> ids : sentences) {
    const auto length = static_cast<int64_t>(ids.size());
    sentences_.push_back({static_cast<int64_t>(ids_.size()), length});
    ids_.insert(ids_.end(), ids.begin(), ids.end());
    for (int32_t i = 0; i < length; ++i) positions_.push_back(i);
    longest = std::max(longest, length);
  }
  rows_ = static_cast<int64_t>(ids_.size());
  const int64_t attention_scratch = padded(team_.kernels().attention_scratch(longest));
  scratch_size_ = attention_scratch + padded(longest) * spec.head_width();
  scratch_.need(team_.threads() * scratch_size_);
  const StackBuffers buffers = workspace_.need(rows_, spec);

  team_.run([&](const Thread& thread) {
    embed(thread, model_.encoder_embedding(), spec, rows_, ids_.data(), positions_.data(),
          buffers.x);
    for (const EncoderLayer& layer : model_.encoder_layers()) {
      const SelfAttention& attention = layer.self_attention;
      const Rows input = sublayer_input(thread, attention.norm, spec, rows_, buffers);
      linear(thread, attention.qkv, rows_, input, buffers.packed, buffers.heads, Activation::none,
             nullptr);
      attend(thread, buffers);
      sublayer_output(thread, attention.output, attention.norm, spec, rows_, buffers.context,
                      buffers);
      feed_forward(thread, layer.feed_forward, spec, rows_, buffers);
    }
    if (spec.final_norm) {
      layer_norm(thread, model_.encoder_norm(), spec, rows_, buffers.x, buffers.x);
    }
  });
  return buffers.x;
}

// Every (sentence, head) is one task: the whole row of scores of a block of queries fits the cache.
void Encoder::attend(const Thread& thread, const StackBuffers& buffers) {
  const StackSpec& spec = model_.spec().encoder;
  float* const packed_keys = scratch_.need(0) + thread.index() * scratch_size_;
  int64_t task = 0;
  for (const Sentence& sentence : sentences_) {
    const float* const rows = buffers.heads.row(sentence.first_row);
    for (int64_t head = 0; head < spec.num_heads; ++head, ++task) {
      if (task % thread.count() != thread.index()) continue;
      const int64_t column = head * spec.head_width();
      thread.kernels().pack_keys(rows + spec.heads_width() + column, buffers.heads.stride,
                                 sentence.length, spec.head_width(), packed_keys);
      kernels::AttentionArgs args = {};
      args.queries = sentence.length;
      args.keys = sentence.length;
      args.dim = spec.head_width();
      args.scale = spec.attention_scale;
      args.q = rows + column;
      args.ldq = buffers.heads.stride;
      args.packed_keys = packed_keys;
      args.v = rows + 2 * spec.heads_width() + column;
      args.ldv = buffers.heads.stride;
      args.out = buffers.context.row(sentence.first_row) + column;
      args.ldo = buffers.context.stride;
      args.scratch = packed_keys + padded(sentence.length) * spec.head_width();
      thread.kernels().attention(args);
    }
  }
  thread.meet();
}

void Encoder::fill(std::span<CrossCache* const> caches) {
  const StackSpec& spec = model_.spec().decoder;
  if (spec.num_layers == 0) return;
  const StackBuffers buffers = workspace_.need(rows_, model_.spec().encoder);
  const int64_t columns = 2 * spec.heads_width();
  const Rows key_value = {key_value_.need(rows_ * columns), columns};
  team_.run([&](const Thread& thread) { project(thread, buffers, key_value, caches); });
}

// Layer by layer, so that what lies between the product and the caches stays small.
void Encoder::project(const Thread& thread, const StackBuffers& buffers, Rows key_value,
                      std::span<CrossCache* const> caches) {
  const StackSpec& spec = model_.spec().decoder;
  const int64_t width = spec.heads_width();
  Linear layer_weights = model_.cross_key_value();
  layer_weights.outputs = 2 * width;
  for (int64_t layer = 0; layer < spec.num_layers; ++layer) {
    linear(thread, layer_weights, rows_, buffers.x, buffers.packed, key_value, Activation::none,
           nullptr);
    for (size_t i = static_cast<size_t>(thread.index()); i < caches.size();
         i += static_cast<size_t>(thread.count())) {
      const Sentence& sentence = sentences_[i];
      const float* const rows = key_value.row(sentence.first_row);
      for (int64_t head = 0; head < spec.num_heads; ++head) {
        thread.kernels().pack_keys(rows + head * spec.head_width(), key_value.stride,
                                   sentence.length, spec.head_width(),
                                   caches[i]->keys(layer, head));
      }
      for (int64_t row = 0; row < sentence.length; ++row) {
        std::memcpy(caches[i]->values(layer) + row * width, rows + row * key_value.stride + width,
                    static_cast<size_t>(width) * sizeof(float));
      }
    }
    thread.meet();
    layer_weights.weight.data += layer_weights.panels() * layer_weights.weight.panel_stride;
    if (layer_weights.bias != nullptr) layer_weights.bias += layer_weights.outputs;
  }
}

}  // namespace pytransformer::nn
