#include "nn/encoder.h"

#include <algorithm>

namespace pytransformer::nn {

using kernels::CacheType;
using kernels::padded;

namespace {

std::vector<const float*> biases_of(const Model& model) {
  std::vector<const float*> biases;
  for (const EncoderLayer& layer : model.encoder_layers()) {
    biases.push_back(layer.self_attention.distances.bias);
  }
  return biases;
}

}  // namespace

Encoder::Encoder(const Model& model, Team& team)
    : model_(model), team_(team), distances_(model.spec().encoder, biases_of(model)) {}

int64_t Encoder::bytes(const Model& model, const TeamSize& team, int64_t rows, int64_t longest) {
  const StackSpec& spec = model.spec().encoder;
  constexpr auto kListed = static_cast<int64_t>(sizeof(Sentence) + 2 * sizeof(int32_t));
  return StackWorkspace::bytes(rows, spec, team.threads) +
         GrowingBuffer<float>::bytes(team.threads * scratch_of(spec, team.kernels, longest)) +
         GrowingBuffer<float>::bytes(rows * 2 * model.spec().decoder.heads_width()) +
         DistanceTables::bytes(spec, longest) + simd::allocated_by_growth(rows * kListed);
}

// Of one thread: the keys of a head in panels, and what attention needs.
int64_t Encoder::scratch_of(const StackSpec& spec, const kernels::Table& kernels, int64_t longest) {
  return padded(kernels.attention_scratch(longest)) + padded(longest) * spec.head_width() +
         vectors_scratch(spec, longest);
}

void Encoder::start() {
  sentences_.clear();
  ids_.clear();
  positions_.clear();
  longest_ = 0;
}

void Encoder::add_sentence(int64_t length) {
  sentences_.push_back({static_cast<int64_t>(positions_.size()), length});
  for (int32_t i = 0; i < length; ++i) positions_.push_back(i);
  longest_ = std::max(longest_, length);
}

Rows Encoder::run(std::span<const std::span<const int32_t>> sentences, float* weights) {
  start();
  for (const std::span<const int32_t> ids : sentences) {
    ids_.insert(ids_.end(), ids.begin(), ids.end());
    add_sentence(static_cast<int64_t>(ids.size()));
  }
  return run_layers({}, weights);
}

Rows Encoder::run(std::span<const std::span<const int32_t>> sentences,
                  std::span<const int32_t> segments) {
  start();
  for (const std::span<const int32_t> ids : sentences) {
    ids_.insert(ids_.end(), ids.begin(), ids.end());
    add_sentence(static_cast<int64_t>(ids.size()));
  }
  const auto reach = static_cast<int32_t>(model_.spec().encoder.positions.max_length);
  for (size_t i = 0; i < segments.size(); ++i) positions_[i] += segments[i] * reach;
  return run_layers({}, nullptr);
}

Rows Encoder::run(Rows vectors, std::span<const int64_t> lengths) {
  start();
  for (const int64_t length : lengths) add_sentence(length);
  return run_layers(vectors, nullptr);
}

// Of `vectors`, or of the ids if there are none.
Rows Encoder::run_layers(Rows vectors, float* weights) {
  const StackSpec& spec = model_.spec().encoder;
  scratch_size_ = scratch_of(spec, team_.kernels(), longest_);
  scratch_.need(team_.threads() * scratch_size_);
  distances_.need(longest_);
  buffers_ = &workspace_.need(static_cast<int64_t>(positions_.size()), spec, team_.threads());

  team_.run([&](const Thread& thread) {
    const Stage before = thread.enter(Stage::encoder);
    Pass pass(thread, spec, *buffers_);
    if (vectors.data != nullptr) {
      pass.embed_vectors(model_.encoder_embedding(), vectors, positions_.data());
    } else {
      pass.embed(model_.encoder_embedding(), ids_.data(), positions_.data());
    }
    for (int64_t i = 0; i < spec.num_layers; ++i) {
      const EncoderLayer& layer = model_.encoder_layers()[static_cast<size_t>(i)];
      const SelfAttention& attention = layer.self_attention;
      const kernels::Operand input = pass.enter(attention.norm, attention.qkv.weight.type);
      pass.product_of_heads(attention.qkv, 3, input, buffers_->heads);
      thread.enter(Stage::attention);
      attend(pass, i,
             weights == nullptr ? nullptr : weights + i * spec.num_heads * longest_ * longest_);
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

// A thread needs the queries, keys and values of its own heads only.
void Encoder::attend(const Pass& pass, int64_t layer, float* weights) {
  const Range own = pass.own_heads();
  for (const Sentence& sentence : sentences_) {
    for (int64_t head = own.begin; head < own.end; ++head) {
      float* const head_weights =
          weights == nullptr ? nullptr : weights + head * sentence.length * sentence.length;
      attend(pass, layer, sentence, head, head_weights);
    }
  }
}

// The scores of a block of queries with all keys fit the cache.
void Encoder::attend(const Pass& pass, int64_t layer, const Sentence& sentence, int64_t head,
                     float* weights) {
  const StackSpec& spec = model_.spec().encoder;
  const Thread& thread = pass.thread();
  const Rows heads = buffers_->heads;
  float* const packed_keys = scratch_.need(0) + thread.index() * scratch_size_;
  float* const scratch = packed_keys + padded(sentence.length) * spec.head_width();
  float* const queries = heads.row(sentence.first_row) + head * spec.head_width();
  float* const keys = queries + spec.heads_width();
  for (int64_t i = 0; i < sentence.length; ++i) {
    distances_.rotate(thread.kernels(), i, 1, queries + i * heads.stride);
    distances_.rotate(thread.kernels(), i, 1, keys + i * heads.stride);
  }
  thread.kernels().pack_keys(CacheType::float32, keys, heads.stride, sentence.length,
                             spec.head_width(), reinterpret_cast<std::byte*>(packed_keys));
  kernels::AttentionArgs args = {};
  args.queries = sentence.length;
  args.keys = sentence.length;
  args.dim = spec.head_width();
  args.scale = spec.attention_scale;
  args.q = queries;
  args.ldq = heads.stride;
  args.type = CacheType::float32;
  args.packed_keys = reinterpret_cast<const std::byte*>(packed_keys);
  args.v = reinterpret_cast<const std::byte*>(keys + spec.heads_width());
  args.v_bytes = heads.stride * static_cast<int64_t>(sizeof(float));
  args.out = buffers_->context.row(sentence.first_row) + head * spec.head_width();
  args.ldo = buffers_->context.stride;
  args.scratch = scratch;
  args.bias = distances_.bias(layer, head);
  args.ld_bias = -1;
  args.weights = weights;
  args.ld_weights = sentence.length;
  if (!spec.has_distances(DistanceKind::vectors)) return thread.kernels().attention(args);
  const Distances& vectors =
      model_.encoder_layers()[static_cast<size_t>(layer)].self_attention.distances;
  attend_with_vectors(thread.kernels(), args, vectors, spec.distances->max_distance,
                      scratch + padded(thread.kernels().attention_scratch(sentence.length)));
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
