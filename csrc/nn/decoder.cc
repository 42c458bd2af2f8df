#include "nn/decoder.h"

#include <algorithm>

namespace pytransformer::nn {

using kernels::padded;

namespace {

std::vector<const float*> biases_of(const Model& model) {
  std::vector<const float*> biases;
  for (int64_t i = 0; i < model.spec().decoder.num_layers; ++i) {
    biases.push_back(model.decoder_layer(i).self_attention.distances.bias);
  }
  return biases;
}

}  // namespace

Decoder::Decoder(const Model& model, Team& team)
    : model_(model), team_(team), distances_(model.spec().decoder, biases_of(model)) {}

int64_t Decoder::bytes(const Model& model, const TeamSize& team, const StepSizes& sizes) {
  const StackSpec& spec = model.spec().decoder;
  constexpr auto kListed = static_cast<int64_t>(4 * sizeof(int32_t) + sizeof(Segment));
  return StackWorkspace::bytes(sizes.rows, spec, team.threads) +
         GrowingBuffer<float>::bytes(
             team.threads * scratch_of(spec, team.kernels, sizes.positions, sizes.source)) +
         DistanceTables::bytes(spec, sizes.positions) +
         simd::allocated_by_growth(sizes.rows * kListed) + output_bytes(spec, team.threads, sizes);
}

// Of one thread, for either attention.
int64_t Decoder::scratch_of(const StackSpec& spec, const kernels::Table& kernels, int64_t positions,
                            int64_t source) {
  return std::max(padded(positions) + vectors_scratch(spec, positions),
                  padded(kernels.attention_scratch(source)));
}

void Decoder::step(std::span<const StepRow> rows, std::span<const StepSentence> sentences,
                   StepOutput& output) {
  const StackSpec& spec = model_.spec().decoder;
  rows_ = rows;
  sentences_ = sentences;
  prepare(output);
  buffers_ = &workspace_.need(static_cast<int64_t>(rows.size()), spec, team_.threads());
  team_.run([&](const Thread& thread) {
    const Stage before = thread.enter(Stage::decoder);
    Pass pass(thread, spec, *buffers_);
    pass.embed(model_.decoder_embedding(), ids_.data(), positions_.data());
    for (int64_t i = 0; i < spec.num_layers; ++i) {
      attention(pass, i);
      // Nothing reads the others any more.
      if (i + 1 == spec.num_layers) pass.keep(asked_);
      pass.feed_forward(model_.decoder_layer(i).feed_forward);
    }
    pass.keep(asked_);  // where there are no layers
    thread.enter(Stage::output);
    this->output(pass, output);
    thread.enter(before);
  });
}

void Decoder::attention(Pass& pass, int64_t layer) {
  switch (model_.spec().decoder.autoregression) {
    case Autoregression::self_attention:
      self_attention(pass, layer);
      break;
    case Autoregression::ssru:
      ssru(pass, layer);
      break;
    case Autoregression::average_attention:
      average_attention(pass, layer);
      break;
  }
  if (model_.spec().has_encoder()) cross_attention(pass, layer);
}

void Decoder::prepare(StepOutput& output) {
  ids_.clear();
  positions_.clear();
  sentence_of_row_.clear();
  asked_.clear();
  int64_t longest = 1;
  for (const StepRow& row : rows_) {
    if (!row.is_silent) asked_.push_back(static_cast<int32_t>(ids_.size()));
    ids_.push_back(row.token);
    positions_.push_back(row.position);
    longest = std::max<int64_t>(longest, row.position + 1);
  }
  distances_.need(longest);
  int64_t source = 0;
  for (size_t i = 0; i < sentences_.size(); ++i) {
    sentence_of_row_.insert(sentence_of_row_.end(), static_cast<size_t>(sentences_[i].rows),
                            static_cast<int32_t>(i));
    if (sentences_[i].cross == nullptr) continue;
    source = std::max(source, sentences_[i].cross->source_length());
  }
  scratch_size_ = scratch_of(model_.spec().decoder, team_.kernels(), longest, source);
  scratch_.need(team_.threads() * scratch_size_);
  prepare_segments();
  prepare_output(output);
}

// A thread computes queries, keys and values of its own heads, so that nobody waits before it
// attends.
void Decoder::self_attention(Pass& pass, int64_t layer) {
  const SelfAttention& weights = model_.decoder_layer(layer).self_attention;
  const kernels::Operand input = pass.enter(weights.norm, weights.qkv.weight.type);
  pass.product_of_heads(weights.qkv, 3, input, buffers_->heads);
  pass.thread().enter(Stage::attention);
  for (int64_t row = 0; row < buffers_->rows; ++row) attend_to_cache(pass, layer, row);
  pass.thread().meet();
  pass.thread().enter(Stage::decoder);
  pass.leave(weights.output, weights.norm, buffers_->context);
}

void Decoder::attend_to_cache(const Pass& pass, int64_t layer, int64_t row) {
  const StackSpec& spec = model_.spec().decoder;
  const Thread& thread = pass.thread();
  const Range heads = pass.own_heads();
  const StepRow& step = rows_[static_cast<size_t>(row)];
  const StepSentence& sentence =
      sentences_[static_cast<size_t>(sentence_of_row_[static_cast<size_t>(row)])];
  SelfCache& cache = *sentence.self;
  const int64_t column = heads.begin * spec.head_width();
  float* const qkv = buffers_->heads.row(row) + column;
  distances_.rotate(thread.kernels(), step.position, heads.size(), qkv);
  distances_.rotate(thread.kernels(), step.position, heads.size(), qkv + spec.heads_width());
  for (int64_t head = heads.begin; head < heads.end; ++head) {
    const float* const key = qkv + spec.heads_width() + (head - heads.begin) * spec.head_width();
    thread.kernels().store_rows(cache.type(), key, 0, 1, spec.head_width(),
                                cache.key(layer, head, step.slot));
    thread.kernels().store_rows(cache.type(), key + spec.heads_width(), 0, 1, spec.head_width(),
                                cache.value(layer, head, step.slot));
  }
  kernels::CachedAttentionArgs args = {};
  args.heads = heads.size();
  args.dim = spec.head_width();
  args.count = step.position + 1;
  args.scale = spec.attention_scale;
  args.q = qkv;
  args.type = cache.type();
  args.chunks = cache.chunks();
  args.key_offset = cache.key_offset(layer, heads.begin);
  args.value_offset = cache.value_offset(layer, heads.begin);
  args.head_bytes = cache.head_bytes();
  args.slots = step.path;
  args.out = buffers_->context.row(row) + column;
  const float* const bias = distances_.bias(layer, heads.begin);
  if (bias != nullptr) args.bias = bias - step.position;
  args.bias_stride = distances_.bias_stride();
  record(sentence, layer, heads.begin, row, args);
  attend(thread.kernels(), layer, thread.index(), args);
}

void Decoder::attend(const kernels::Table& kernels, int64_t layer, int64_t thread,
                     kernels::CachedAttentionArgs& args) {
  const StackSpec& spec = model_.spec().decoder;
  args.scratch = scratch_.need(0) + thread * scratch_size_;
  if (!spec.has_distances(DistanceKind::vectors)) return kernels.attention_cached(args);
  attend_with_vectors(kernels, args, model_.decoder_layer(layer).self_attention.distances,
                      spec.distances->max_distance, args.scratch + padded(args.count));
}

int64_t Decoder::tap_row(const StepSentence& sentence, int64_t layer, int64_t head) const {
  const AttentionTap* const tap = sentence.attention;
  if (tap == nullptr) return -1;
  const int64_t tapped = layer - tap->first_layer;
  if (tapped < 0 || tapped >= tap->layers) return -1;
  return (tapped * model_.spec().decoder.num_heads + head) * sentence.rows;
}

void Decoder::record(const StepSentence& sentence, int64_t layer, int64_t head, int64_t row,
                     kernels::CachedAttentionArgs& args) const {
  const int64_t first = tap_row(sentence, layer, head);
  if (first < 0 || sentence.attention->self == nullptr) return;
  const int64_t positions = sentence.attention->positions;
  args.weights = sentence.attention->self + (first + row - sentence.first_row) * positions;
  args.weights_stride = sentence.rows * positions;
}

void Decoder::record(const StepSentence& sentence, int64_t layer, int64_t head,
                     kernels::AttentionArgs& args) const {
  const int64_t first = tap_row(sentence, layer, head);
  if (first < 0 || sentence.attention->cross == nullptr) return;
  args.ld_weights = sentence.cross->source_length();
  args.weights = sentence.attention->cross + first * args.ld_weights;
}

// All beams of a sentence read its keys and values once.
void Decoder::cross_attention(Pass& pass, int64_t layer) {
  const StackSpec& spec = model_.spec().decoder;
  const Thread& thread = pass.thread();
  const CrossAttention& weights = model_.decoder_layer(layer).cross_attention;
  const kernels::Operand input = pass.enter(weights.norm, weights.query.weight.type);
  pass.product_of_heads(weights.query, 1, input, buffers_->heads);
  thread.enter(Stage::attention);
  const Range heads = pass.own_heads();
  for (const StepSentence& sentence : sentences_) {
    for (int64_t head = heads.begin; head < heads.end; ++head) {
      const int64_t column = head * spec.head_width();
      kernels::AttentionArgs args = {};
      args.queries = sentence.rows;
      args.keys = sentence.cross->source_length();
      args.dim = spec.head_width();
      args.scale = spec.attention_scale;
      args.q = buffers_->heads.row(sentence.first_row) + column;
      args.ldq = buffers_->heads.stride;
      args.type = sentence.cross->type();
      args.packed_keys = sentence.cross->keys(layer, head);
      args.v = sentence.cross->values(layer, head);
      args.v_bytes = spec.head_width() * bytes_of(args.type);
      args.out = buffers_->context.row(sentence.first_row) + column;
      args.ldo = buffers_->context.stride;
      args.scratch = scratch_.need(0) + thread.index() * scratch_size_;
      args.ahead = sentence.cross->head_bytes();
      record(sentence, layer, head, args);
      thread.kernels().attention(args);
    }
  }
  thread.meet();
  thread.enter(Stage::decoder);
  pass.leave(weights.output, weights.norm, buffers_->context);
}

}  // namespace pytransformer::nn
