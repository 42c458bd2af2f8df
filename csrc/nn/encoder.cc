#include "nn/encoder.h"

#include <algorithm>

namespace pytransformer::nn {

using kernels::CacheType;
using kernels::padded;

Rows Encoder::run(std::span<const std::span<const int32_t>> sentences, float* weights) {
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
  const int64_t attention_scratch = padded(team_.kernels().attention_scratch(longest));
  scratch_size_ = attention_scratch + padded(longest) * spec.head_width();
  scratch_.need(team_.threads() * scratch_size_);
  buffers_ = &workspace_.need(static_cast<int64_t>(ids_.size()), spec, team_.threads());

  team_.run([&](const Thread& thread) {
    const Stage before = thread.enter(Stage::encoder);
    Pass pass(thread, spec, *buffers_);
    pass.embed(model_.encoder_embedding(), ids_.data(), positions_.data());
    float* layer_weights = weights;
    for (const EncoderLayer& layer : model_.encoder_layers()) {
      const SelfAttention& attention = layer.self_attention;
      const kernels::Operand input = pass.enter(attention.norm, attention.qkv.weight.type);
      pass.product_of_heads(attention.qkv, 3, input, buffers_->heads);
      thread.enter(Stage::attention);
      attend(pass, layer_weights);
      if (weights != nullptr) layer_weights += spec.num_heads * longest * longest;
      thread.meet();
      thread.enter(Stage::encoder);
      pass.leave(attention.output, attention.norm, buffers_->context);
      pass.feed_forward(layer.feed_forward);
    }
    pass.finish(model_.encoder_norm());
    thread.enter(before);
  });
  return buffers_->x;
}

// The scores of a block of queries with all keys fit the cache. A thread needs the queries, keys
// and values of its own heads only.
void Encoder::attend(const Pass& pass, float* weights) {
  const StackSpec& spec = model_.spec().encoder;
  const Thread& thread = pass.thread();
  const Rows heads = buffers_->heads;
  float* const packed_keys = scratch_.need(0) + thread.index() * scratch_size_;
  const Range own = pass.own_heads();
  for (const Sentence& sentence : sentences_) {
    const float* const rows = heads.row(sentence.first_row);
    for (int64_t head = own.begin; head < own.end; ++head) {
      const int64_t column = head * spec.head_width();
      thread.kernels().pack_keys(CacheType::float32, rows + spec.heads_width() + column,
                                 heads.stride, sentence.length, spec.head_width(),
                                 reinterpret_cast<std::byte*>(packed_keys));
      kernels::AttentionArgs args = {};
      args.queries = sentence.length;
      args.keys = sentence.length;
      args.dim = spec.head_width();
      args.scale = spec.attention_scale;
      args.q = rows + column;
      args.ldq = heads.stride;
      args.type = CacheType::float32;
      args.packed_keys = reinterpret_cast<const std::byte*>(packed_keys);
      args.v = reinterpret_cast<const std::byte*>(rows + 2 * spec.heads_width() + column);
      args.v_bytes = heads.stride * static_cast<int64_t>(sizeof(float));
      args.out = buffers_->context.row(sentence.first_row) + column;
      args.ldo = buffers_->context.stride;
      args.scratch = packed_keys + padded(sentence.length) * spec.head_width();
      if (weights != nullptr) args.weights = weights + head * sentence.length * sentence.length;
      args.ld_weights = sentence.length;
      thread.kernels().attention(args);
    }
  }
}

void Encoder::fill(std::span<CrossCache* const> caches) {
  const StackSpec& spec = model_.spec().decoder;
  if (spec.num_layers == 0) return;
  key_value_.need(buffers_->rows * 2 * spec.heads_width());
  team_.run([&](const Thread& thread) {
    const Stage before = thread.enter(Stage::encoder);
    project(thread, caches);
    thread.enter(before);
  });
}

// Layer by layer, so that what lies between the product and the caches stays small. A thread
// computes and stores the keys and values of its own heads.
void Encoder::project(const Thread& thread, std::span<CrossCache* const> caches) {
  const StackSpec& spec = model_.spec().decoder;
  const int64_t width = spec.heads_width();
  const Rows key_value = {key_value_.need(0), 2 * width};
  Pass pass(thread, spec, *buffers_);
  Linear layer_weights = model_.cross_key_value();
  const kernels::Operand states =
      pass.convert(buffers_->x, layer_weights.inputs, layer_weights.weight.type);
  layer_weights.outputs = 2 * width;
  const Range own = pass.own_heads();
  for (int64_t layer = 0; layer < spec.num_layers; ++layer) {
    pass.product_of_heads(layer_weights, 2, states, key_value);
    for (size_t i = 0; i < caches.size(); ++i) {
      const Sentence& sentence = sentences_[i];
      const float* const rows = key_value.row(sentence.first_row);
      for (int64_t head = own.begin; head < own.end; ++head) {
        const float* const keys = rows + head * spec.head_width();
        thread.kernels().pack_keys(caches[i]->type(), keys, key_value.stride, sentence.length,
                                   spec.head_width(), caches[i]->keys(layer, head));
        thread.kernels().store_rows(caches[i]->type(), keys + width, key_value.stride,
                                    sentence.length, spec.head_width(),
                                    caches[i]->values(layer, head));
      }
    }
    thread.meet();
    layer_weights.weight = layer_weights.weight.from(layer_weights.panels());
    if (layer_weights.bias != nullptr) layer_weights.bias += layer_weights.outputs;
  }
}

}  // namespace pytransformer::nn
