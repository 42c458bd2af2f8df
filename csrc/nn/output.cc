// The output layer: each tile of the vocabulary is reduced, while in cache, to its share of the
// log-sum-exp and to the running best candidates; the logits are never written as a whole unless
// somebody asks for them.
#include <algorithm>
#include <cstring>

#include "nn/decoder.h"

namespace pytransformer::nn {

using kernels::Activation;
using kernels::kLanes;

void Decoder::output(Pass& pass, StepOutput& output) {
  const Linear& layer = model_.output();
  const Thread& thread = pass.thread();
  const int64_t count = buffers_->rows;
  const kernels::Operand x = pass.finish(model_.decoder_norm(), layer.weight.type);
  OutputBuffers own = {};
  own.tile = {tile_.need(0) + thread.index() * count * kTilePanels * kLanes, kTilePanels * kLanes};
  own.tiles = (layer.panels() + kTilePanels - 1) / kTilePanels;
  own.maxima = tile_max_.need(0);
  own.sums = output.want_log_sum ? tile_sum_.need(0) : nullptr;
  reduce_tiles(thread, x, output, own);
  thread.meet();
  merge(thread, output, own);
  thread.meet();
}

void Decoder::reduce_tiles(const Thread& thread, const kernels::Operand& x, StepOutput& output,
                           const OutputBuffers& own) {
  const Linear& layer = model_.output();
  const int64_t vocab_size = model_.spec().decoder.vocab_size;
  const auto count = static_cast<int64_t>(rows_.size());
  const int64_t capacity = output.num_candidates;
  kernels::TopK* const tops = tops_.data() + thread.index() * count;
  for (int64_t row = 0; row < count; ++row) {
    const int64_t list = (thread.index() * count + row) * capacity;
    tops[row] = {candidate_logits_.data() + list, candidate_ids_.data() + list,
                 output.num_candidates, 0};
  }
  const Range tiles = thread.slice(own.tiles);
  for (int64_t tile = tiles.begin; tile < tiles.end; ++tile) {
    const int64_t panel = tile * kTilePanels;
    const int64_t first = panel * kLanes;
    kernels::GemmArgs args = {};
    args.m = count;
    args.k = layer.inputs;
    args.panels = std::min(kTilePanels, layer.panels() - panel);
    args.a = x;
    args.b = layer.weight.from(panel);
    args.c = own.tile.data;
    args.ldc = own.tile.stride;
    args.bias = layer.bias == nullptr ? nullptr : layer.bias + first;
    args.activation = Activation::none;
    thread.kernels().gemm(args);
    const int64_t columns = std::min(kTilePanels * kLanes, vocab_size - first);
    for (int64_t row = 0; row < count; ++row) {
      float* const sum = own.sums == nullptr ? nullptr : own.sums + row * own.tiles + tile;
      thread.kernels().reduce_logits(own.tile.row(row), columns, static_cast<int32_t>(first),
                                     own.maxima + row * own.tiles + tile, sum, tops + row);
      if (output.logits != nullptr) {
        std::memcpy(output.logits + row * vocab_size + first, own.tile.row(row),
                    static_cast<size_t>(columns) * sizeof(float));
      }
    }
  }
}

// Rows are shared out; a row's lists of all threads are merged into the first thread's. The total
// order (logit, then lowest id) makes the result the same for every number of threads.
void Decoder::merge(const Thread& thread, StepOutput& output, const OutputBuffers& own) {
  const auto count = static_cast<int64_t>(rows_.size());
  const Range rows = thread.slice(count);
  for (int64_t row = rows.begin; row < rows.end; ++row) {
    kernels::TopK& best = tops_[static_cast<size_t>(row)];
    for (int64_t other = 1; other < thread.count(); ++other) {
      thread.kernels().merge_top(tops_[static_cast<size_t>(other * count + row)], &best);
    }
    const auto index = static_cast<size_t>(row);
    output.candidates[index] = best;
    output.log_sum[index] =
        own.sums == nullptr ? 0.0f
                            : thread.kernels().log_sum_exp(own.maxima + row * own.tiles,
                                                           own.sums + row * own.tiles, own.tiles);
  }
}

}  // namespace pytransformer::nn
