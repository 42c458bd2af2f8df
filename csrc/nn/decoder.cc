#include "nn/decoder.h"

#include <algorithm>
#include <cstring>

namespace pytransformer::nn {

using kernels::Activation;
using kernels::kLanes;
using kernels::padded;

void Decoder::step(std::span<const StepRow> rows, std::span<const StepSentence> sentences,
                   StepOutput& output) {
  const StackSpec& spec = model_.spec().decoder;
  rows_ = rows;
  sentences_ = sentences;
  prepare(output);
  const auto count = static_cast<int64_t>(rows.size());
  const StackBuffers buffers = workspace_.need(count, spec);
  team_.run([&](const Thread& thread) {
    embed(thread, model_.decoder_embedding(), spec, count, ids_.data(), positions_.data(),
          buffers.x);
    for (int64_t i = 0; i < spec.num_layers; ++i) {
      const DecoderLayer& layer = model_.decoder_layers()[static_cast<size_t>(i)];
      self_attention(thread, buffers, i);
      cross_attention(thread, buffers, i);
      feed_forward(thread, layer.feed_forward, spec, count, buffers);
    }
    if (spec.final_norm) {
      layer_norm(thread, model_.decoder_norm(), spec, count, buffers.x, buffers.x);
    }
    this->output(thread, buffers, output);
  });
}

void Decoder::prepare(StepOutput& output) {
  const auto count = static_cast<int64_t>(rows_.size());
  ids_.clear();
  positions_.clear();
  sentence_of_row_.clear();
  int64_t longest = 1;
  for (const StepRow& row : rows_) {
    ids_.push_back(row.token);
    positions_.push_back(row.position);
    longest = std::max<int64_t>(longest, row.position + 1);
  }
  const kernels::Table& kernels = team_.kernels();
  int64_t scratch = padded(longest);
  for (size_t i = 0; i < sentences_.size(); ++i) {
    sentence_of_row_.insert(sentence_of_row_.end(), static_cast<size_t>(sentences_[i].rows),
                            static_cast<int32_t>(i));
    scratch =
        std::max(scratch, padded(kernels.attention_scratch(sentences_[i].cross->source_length())));
  }
  scratch_size_ = scratch;
  scratch_.need(team_.threads() * scratch_size_);

  const int64_t tiles = (model_.output().panels() + kTilePanels - 1) / kTilePanels;
  tile_.need(team_.threads() * count * kTilePanels * kLanes);
  tile_max_.need(count * tiles);
  tile_sum_.need(count * tiles);
  const auto lists = static_cast<size_t>(team_.threads() * count);
  const auto capacity = static_cast<size_t>(output.num_candidates);
  candidate_logits_.resize(lists * capacity);
  candidate_ids_.resize(lists * capacity);
  tops_.resize(lists);
  output.candidates.resize(rows_.size());
  output.log_sum.resize(rows_.size());
}

// Each (row, head) is one task; a thread takes neighbouring heads of neighbouring rows. It writes
// the keys and values of its own heads only, so that nobody waits between storing and reading.
void Decoder::self_attention(const Thread& thread, const StackBuffers& buffers, int64_t layer) {
  const StackSpec& spec = model_.spec().decoder;
  const SelfAttention& weights = model_.decoder_layers()[static_cast<size_t>(layer)].self_attention;
  const auto count = static_cast<int64_t>(rows_.size());
  const Rows input = sublayer_input(thread, weights.norm, spec, count, buffers);
  linear(thread, weights.qkv, count, input, buffers.packed, buffers.heads, Activation::none,
         nullptr);

  const Range tasks = thread.slice(count * spec.num_heads);
  for (int64_t task = tasks.begin; task < tasks.end;) {
    const int64_t row = task / spec.num_heads;
    const int64_t head = task % spec.num_heads;
    const int64_t heads = std::min(spec.num_heads - head, tasks.end - task);
    task += heads;
    const StepRow& step = rows_[static_cast<size_t>(row)];
    SelfCache& cache =
        *sentences_[static_cast<size_t>(sentence_of_row_[static_cast<size_t>(row)])].self;
    const int64_t column = head * spec.head_width();
    const size_t bytes = static_cast<size_t>(heads * spec.head_width()) * sizeof(float);
    const float* const qkv = buffers.heads.row(row) + column;
    std::memcpy(cache.key(layer, step.slot) + column, qkv + spec.heads_width(), bytes);
    std::memcpy(cache.value(layer, step.slot) + column, qkv + 2 * spec.heads_width(), bytes);

    kernels::CachedAttentionArgs args = {};
    args.heads = heads;
    args.dim = spec.head_width();
    args.count = step.position + 1;
    args.scale = spec.attention_scale;
    args.q = qkv;
    args.chunks = cache.chunks();
    args.key_offset = cache.key_offset(layer) + column;
    args.value_offset = cache.value_offset(layer) + column;
    args.row_stride = cache.row_stride();
    args.slots = step.path;
    args.out = buffers.context.row(row) + column;
    args.scratch = scratch_.need(0) + thread.index() * scratch_size_;
    thread.kernels().attention_cached(args);
  }
  thread.meet();
  sublayer_output(thread, weights.output, weights.norm, spec, count, buffers.context, buffers);
}

// Each (sentence, head) is one task: all beams of a sentence read its keys and values once.
void Decoder::cross_attention(const Thread& thread, const StackBuffers& buffers, int64_t layer) {
  const StackSpec& spec = model_.spec().decoder;
  const CrossAttention& weights =
      model_.decoder_layers()[static_cast<size_t>(layer)].cross_attention;
  const auto count = static_cast<int64_t>(rows_.size());
  const Rows input = sublayer_input(thread, weights.norm, spec, count, buffers);
  linear(thread, weights.query, count, input, buffers.packed, buffers.heads, Activation::none,
         nullptr);

  const Range tasks = thread.slice(static_cast<int64_t>(sentences_.size()) * spec.num_heads);
  for (int64_t task = tasks.begin; task < tasks.end; ++task) {
    const StepSentence& sentence = sentences_[static_cast<size_t>(task / spec.num_heads)];
    const int64_t head = task % spec.num_heads;
    const int64_t column = head * spec.head_width();
    kernels::AttentionArgs args = {};
    args.queries = sentence.rows;
    args.keys = sentence.cross->source_length();
    args.dim = spec.head_width();
    args.scale = spec.attention_scale;
    args.q = buffers.heads.row(sentence.first_row) + column;
    args.ldq = buffers.heads.stride;
    args.packed_keys = sentence.cross->keys(layer, head);
    args.v = sentence.cross->values(layer) + column;
    args.ldv = spec.heads_width();
    args.out = buffers.context.row(sentence.first_row) + column;
    args.ldo = buffers.context.stride;
    args.scratch = scratch_.need(0) + thread.index() * scratch_size_;
    thread.kernels().attention(args);
  }
  thread.meet();
  sublayer_output(thread, weights.output, weights.norm, spec, count, buffers.context, buffers);
}

}  // namespace pytransformer::nn
