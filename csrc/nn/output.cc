// The output layer: each tile of the vocabulary is reduced, while in cache, to its share of the
// log-sum-exp and to the running best candidates; the logits are never written as a whole unless
// somebody asks for them.
#include <algorithm>
#include <cstring>
#include <limits>

#include "nn/decoder.h"

namespace pytransformer::nn {

using kernels::Activation;
using kernels::kLanes;

void Decoder::prepare_segments() {
  segments_.clear();
  most_tiles_ = 0;
  int64_t first_tile = 0;
  const Shortlist* previous = nullptr;
  for (const StepSentence& sentence : sentences_) {
    const Shortlist* const shortlist = sentence.shortlist;
    if (!segments_.empty() && shortlist == previous) {
      segments_.back().rows += sentence.rows;
      continue;
    }
    previous = shortlist;
    Segment segment = {};
    segment.layer = shortlist == nullptr ? &model_.output() : &shortlist->layer();
    if (shortlist != nullptr) segment.ids = shortlist->ids();
    segment.tokens = shortlist == nullptr ? model_.spec().decoder.vocab_size
                                          : static_cast<int64_t>(shortlist->ids().size());
    segment.first_row = sentence.first_row;
    segment.rows = sentence.rows;
    segment.first_tile = first_tile;
    first_tile += segment.tiles();
    most_tiles_ = std::max(most_tiles_, segment.tiles());
    segments_.push_back(segment);
  }
}

void Decoder::prepare_output(StepOutput& output) {
  const auto count = static_cast<int64_t>(rows_.size());
  tile_.need(team_.threads() * count * kTilePanels * kLanes);
  tile_max_.need(count * most_tiles_);
  tile_sum_.need(count * most_tiles_);
  const auto lists = static_cast<size_t>(team_.threads() * count);
  const auto capacity = static_cast<size_t>(output.num_candidates);
  candidate_logits_.resize(lists * capacity);
  candidate_ids_.resize(lists * capacity);
  tops_.resize(lists);
  output.candidates.resize(rows_.size());
  output.log_sum.resize(rows_.size());
}

void Decoder::output(Pass& pass, StepOutput& output) {
  const Thread& thread = pass.thread();
  const bool single = segments_.size() == 1;
  kernels::Operand x = {};
  if (single) {
    x = pass.finish(model_.decoder_norm(), segments_.front().layer->weight.type);
  } else {
    convert_segments(pass);
  }
  clear_candidates(thread, output);
  const Rows logits = {tile_.need(0) + thread.index() * buffers_->rows * kTilePanels * kLanes,
                       kTilePanels * kLanes};
  const Range mine = thread.slice(segments_.back().first_tile + segments_.back().tiles());
  for (const Segment& segment : segments_) {
    if (!single) {
      x = pass.operand_of_rows(segment.first_row, segment.rows, segment.layer->weight.type);
    }
    const int64_t begin = std::max<int64_t>(mine.begin - segment.first_tile, 0);
    const int64_t end = std::min(mine.end - segment.first_tile, segment.tiles());
    for (int64_t tile = begin; tile < end; ++tile) {
      compute_tile(thread, segment, x, tile, logits);
      for (int64_t row = 0; row < segment.rows; ++row) {
        reduce_row(thread, segment, tile, row, logits.row(row), output.want_log_sum);
      }
    }
  }
  thread.meet();
  for (const Segment& segment : segments_) merge(thread, segment, output);
  thread.meet();
}

// With several output layers, the rows of each are a left side of their own.
void Decoder::convert_segments(Pass& pass) {
  const Thread& thread = pass.thread();
  pass.finish(model_.decoder_norm());
  const Range mine = thread.slice(static_cast<int64_t>(segments_.size()));
  for (int64_t i = mine.begin; i < mine.end; ++i) {
    const Segment& segment = segments_[static_cast<size_t>(i)];
    pass.convert_rows(segment.first_row, segment.rows, segment.layer->weight.type);
  }
  thread.meet();
}

void Decoder::clear_candidates(const Thread& thread, const StepOutput& output) {
  const auto count = static_cast<int64_t>(rows_.size());
  for (int64_t row = 0; row < count; ++row) {
    const int64_t list = (thread.index() * count + row) * output.num_candidates;
    tops_[static_cast<size_t>(thread.index() * count + row)] = {
        candidate_logits_.data() + list, candidate_ids_.data() + list, output.num_candidates, 0};
  }
}

void Decoder::compute_tile(const Thread& thread, const Segment& segment, const kernels::Operand& x,
                           int64_t tile, Rows logits) const {
  const Linear& layer = *segment.layer;
  const int64_t panel = tile * kTilePanels;
  kernels::GemmArgs args = {};
  args.m = segment.rows;
  args.k = layer.inputs;
  args.panels = std::min(kTilePanels, layer.panels() - panel);
  args.a = x;
  args.b = layer.weight.from(panel);
  args.c = logits.data;
  args.ldc = logits.stride;
  args.bias = layer.bias == nullptr ? nullptr : layer.bias + panel * kLanes;
  args.activation = Activation::none;
  thread.kernels().gemm(args);
}

// `row` counts from the segment's first; `logits` are those of the tile.
void Decoder::reduce_row(const Thread& thread, const Segment& segment, int64_t tile, int64_t row,
                         float* logits, bool want_sum) {
  const int64_t index = segment.first_row + row;
  const StepRow& step = rows_[static_cast<size_t>(index)];
  const int64_t first = tile * kTilePanels * kLanes;
  const int64_t columns = std::min(kTilePanels * kLanes, segment.tokens - first);
  float* const max = tile_max_.need(0) + index * most_tiles_ + tile;
  float* const sum = want_sum ? tile_sum_.need(0) + index * most_tiles_ + tile : nullptr;
  kernels::TopK* const top = &tops_[static_cast<size_t>(thread.index() * buffers_->rows + index)];
  const auto first_id = static_cast<int32_t>(first);
  if (step.logits != nullptr) copy_logits(segment, first, columns, logits, step.logits);
  const int32_t lowest = segment.token(first);
  const int32_t highest = segment.token(first + columns - 1);
  const std::span<const int32_t> aside = step.aside;
  if (aside.empty() || aside.back() < lowest || aside.front() > highest) {
    thread.kernels().reduce_logits(logits, columns, first_id, max, sum, top);
    return;
  }
  // Tokens that are set aside count in the sum.
  if (want_sum) thread.kernels().reduce_logits(logits, columns, first_id, max, sum, nullptr);
  set_aside(segment, first, columns, logits, step);
  thread.kernels().reduce_logits(logits, columns, first_id, max, nullptr, top);
}

void Decoder::copy_logits(const Segment& segment, int64_t first, int64_t columns,
                          const float* logits, float* to) {
  if (segment.ids.empty()) {
    std::memcpy(to + first, logits, static_cast<size_t>(columns) * sizeof(float));
    return;
  }
  for (int64_t i = 0; i < columns; ++i) to[segment.ids[static_cast<size_t>(first + i)]] = logits[i];
}

// Takes tokens of this tile out of the running and hands over their logits.
void Decoder::set_aside(const Segment& segment, int64_t first, int64_t columns, float* logits,
                        const StepRow& step) {
  const int32_t highest = segment.token(first + columns - 1);
  auto place = std::lower_bound(step.aside.begin(), step.aside.end(), segment.token(first));
  for (; place != step.aside.end() && *place <= highest; ++place) {
    const int32_t token = *place;
    int64_t column = token - first;
    if (!segment.ids.empty()) {
      const auto ids =
          segment.ids.subspan(static_cast<size_t>(first), static_cast<size_t>(columns));
      const auto found = std::lower_bound(ids.begin(), ids.end(), token);
      if (found == ids.end() || *found != token) continue;
      column = found - ids.begin();
    }
    step.aside_logits[place - step.aside.begin()] = logits[column];
    logits[column] = -std::numeric_limits<float>::infinity();
  }
}

// Rows are shared out; a row's lists of all threads are merged into the first thread's. The total
// order (logit, then lowest id) makes the result the same for every number of threads.
void Decoder::merge(const Thread& thread, const Segment& segment, StepOutput& output) {
  const Range rows = thread.slice(segment.rows);
  for (int64_t i = rows.begin; i < rows.end; ++i) {
    const int64_t row = segment.first_row + i;
    kernels::TopK& best = tops_[static_cast<size_t>(row)];
    for (int64_t other = 1; other < thread.count(); ++other) {
      thread.kernels().merge_top(tops_[static_cast<size_t>(other * buffers_->rows + row)], &best);
    }
    if (!segment.ids.empty()) {
      for (int32_t c = 0; c < best.count; ++c) {
        best.ids[c] = segment.ids[static_cast<size_t>(best.ids[c])];
      }
    }
    const auto index = static_cast<size_t>(row);
    output.candidates[index] = best;
    output.log_sum[index] =
        output.want_log_sum
            ? thread.kernels().log_sum_exp(tile_max_.need(0) + row * most_tiles_,
                                           tile_sum_.need(0) + row * most_tiles_, segment.tiles())
            : 0.0f;
  }
}

}  // namespace pytransformer::nn
