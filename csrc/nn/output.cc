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

Decoder::Tile Decoder::Segment::tile(int64_t index) const {
  const int64_t first = index * kTilePanels * kLanes;
  const int64_t columns = std::min(kTilePanels * kLanes, tokens - first);
  return {first, columns, token(first), token(first + columns - 1)};
}

int64_t Decoder::Segment::column(const Tile& tile, int32_t token) const {
  if (token < tile.lowest) return -1;
  if (ids.empty()) return token - tile.first;
  const auto mine = ids.subspan(static_cast<size_t>(tile.first), static_cast<size_t>(tile.columns));
  const auto found = std::lower_bound(mine.begin(), mine.end(), token);
  return found == mine.end() || *found != token ? -1 : found - mine.begin();
}

void Decoder::prepare_segments() {
  segments_.clear();
  most_tiles_ = 0;
  int64_t first_tile = 0;
  int64_t first_row = 0;
  const Shortlist* previous = nullptr;
  for (const StepSentence& sentence : sentences_) {
    const Shortlist* const shortlist = sentence.shortlist;
    const int64_t rows = asked_rows(sentence);
    if (rows == 0) continue;
    if (!segments_.empty() && shortlist == previous) {
      segments_.back().rows += rows;
      first_row += rows;
      continue;
    }
    previous = shortlist;
    Segment segment = {};
    segment.layer = shortlist == nullptr ? &model_.output() : &shortlist->layer();
    if (shortlist != nullptr) segment.ids = shortlist->ids();
    segment.tokens = shortlist == nullptr ? model_.spec().decoder.vocab_size
                                          : static_cast<int64_t>(shortlist->ids().size());
    segment.first_row = first_row;
    segment.rows = rows;
    segment.first_tile = first_tile;
    first_row += rows;
    first_tile += segment.tiles();
    most_tiles_ = std::max(most_tiles_, segment.tiles());
    segments_.push_back(segment);
  }
}

int64_t Decoder::asked_rows(const StepSentence& sentence) const {
  const auto rows =
      rows_.subspan(static_cast<size_t>(sentence.first_row), static_cast<size_t>(sentence.rows));
  return std::ranges::count_if(rows, [](const StepRow& row) { return !row.is_silent; });
}

// As prepare_output asks for them, if no row is silent.
int64_t Decoder::output_bytes(const StackSpec& spec, int threads, const StepSizes& sizes) {
  const int64_t rows = sizes.rows;
  const int64_t lists = threads * rows;
  constexpr int64_t kTile = kTilePanels * kLanes;
  const int64_t tiles = (kernels::padded(spec.vocab_size) + kTile - 1) / kTile;
  constexpr auto kCandidate = static_cast<int64_t>(sizeof(float) + sizeof(int32_t));
  constexpr auto kRow = static_cast<int64_t>(sizeof(kernels::TopK) + sizeof(float));
  return GrowingBuffer<float>::bytes(lists * kTile) +
         2 * GrowingBuffer<float>::bytes(rows * tiles) +
         2 * simd::allocated_by_growth(simd::times(lists, sizes.candidates, kCandidate / 2)) +
         simd::allocated_by_growth(lists * static_cast<int64_t>(sizeof(RowReduction))) +
         2 * simd::allocated_by_growth(rows * kRow / 2);
}

void Decoder::prepare_output(StepOutput& output) {
  const auto count = static_cast<int64_t>(asked_.size());
  tile_.need(team_.threads() * count * kTilePanels * kLanes);
  tile_max_.need(count * most_tiles_);
  tile_sum_.need(count * most_tiles_);
  const auto lists = static_cast<size_t>(team_.threads() * count);
  const auto capacity = static_cast<size_t>(output.num_candidates);
  candidate_logits_.resize(lists * capacity);
  candidate_ids_.resize(lists * capacity);
  reductions_.resize(lists);
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
  start_rows(thread, output);
  const Range mine = thread.slice(segments_.back().first_tile + segments_.back().tiles());
  for (const Segment& segment : segments_) {
    if (!single) {
      x = pass.operand_of_rows(segment.first_row, segment.rows, segment.layer->weight.type);
    }
    const int64_t begin = std::max<int64_t>(mine.begin - segment.first_tile, 0);
    const int64_t end = std::min(mine.end - segment.first_tile, segment.tiles());
    compute_tiles(thread, segment, x, {begin, end}, output.want_log_sum);
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

void Decoder::start_rows(const Thread& thread, const StepOutput& output) {
  const auto capacity = static_cast<size_t>(output.num_candidates);
  size_t place = static_cast<size_t>(thread.index()) * asked_.size();
  for (const int32_t asked : asked_) {
    const StepRow& row = rows_[static_cast<size_t>(asked)];
    reductions_[place] = {{candidate_logits_.data() + place * capacity,
                           candidate_ids_.data() + place * capacity, output.num_candidates, 0},
                          row.aside,
                          row.aside_logits,
                          row.logits,
                          row.excludes_aside};
    ++place;
  }
}

// What the loop needs lies in local variables: each tile's weights drive all else from the cache.
void Decoder::compute_tiles(const Thread& thread, const Segment& segment, const kernels::Operand& x,
                            Range tiles, bool want_sum) {
  const kernels::Table& kernels = thread.kernels();
  const Linear layer = *segment.layer;
  const int64_t first_row = segment.first_row;
  const int64_t stride = most_tiles_;
  float* const max = tile_max_.need(0) + first_row * stride;
  float* const sum = want_sum ? tile_sum_.need(0) + first_row * stride : nullptr;
  const auto all_rows = static_cast<int64_t>(asked_.size());
  RowReduction* const rows = reductions_.data() + thread.index() * all_rows + first_row;
  kernels::GemmArgs args = {};
  args.m = segment.rows;
  args.k = layer.inputs;
  args.a = x;
  args.c = tile_.need(0) + thread.index() * all_rows * kTilePanels * kLanes;
  args.ldc = kTilePanels * kLanes;
  args.activation = Activation::none;
  for (int64_t i = tiles.begin; i < tiles.end; ++i) {
    const int64_t panel = i * kTilePanels;
    args.panels = std::min(kTilePanels, layer.panels() - panel);
    args.b = layer.weight.from(panel);
    args.bias = layer.bias == nullptr ? nullptr : layer.bias + panel * kLanes;
    kernels.gemm(args);
    const Tile tile = segment.tile(i);
    for (int64_t row = 0; row < args.m; ++row) {
      const int64_t place = row * stride + i;
      reduce_row(kernels, segment, tile, args.c + row * args.ldc, max + place,
                 sum == nullptr ? nullptr : sum + place, rows[row]);
    }
  }
}

void Decoder::reduce_row(const kernels::Table& kernels, const Segment& segment, const Tile& tile,
                         float* logits, float* max, float* sum, RowReduction& row) {
  const auto first_id = static_cast<int32_t>(tile.first);
  if (row.logits != nullptr) copy_logits(segment, tile, logits, row.logits);
  if (row.has_aside(tile)) {
    // Tokens that are set aside count in the sum, unless the row says otherwise.
    if (sum != nullptr && !row.excludes_aside) {
      kernels.reduce_logits(logits, tile.columns, first_id, max, sum, nullptr);
      sum = nullptr;
    }
    set_aside(segment, tile, logits, row);
  }
  kernels.reduce_logits(logits, tile.columns, first_id, max, sum, &row.top);
}

void Decoder::copy_logits(const Segment& segment, const Tile& tile, const float* logits,
                          float* to) {
  if (segment.ids.empty()) {
    std::memcpy(to + tile.first, logits, static_cast<size_t>(tile.columns) * sizeof(float));
    return;
  }
  for (int64_t i = 0; i < tile.columns; ++i) to[segment.token(tile.first + i)] = logits[i];
}

// Takes tokens of this tile out of the running and hands over their logits.
void Decoder::set_aside(const Segment& segment, const Tile& tile, float* logits,
                        RowReduction& row) {
  size_t done = 0;
  for (; done < row.aside.size() && row.aside[done] <= tile.highest; ++done) {
    const int64_t column = segment.column(tile, row.aside[done]);
    if (column < 0) continue;
    row.aside_logits[done] = logits[column];
    logits[column] = -std::numeric_limits<float>::infinity();
  }
  row.aside = row.aside.subspan(done);
  row.aside_logits += done;
}

// Rows are shared out; a row's lists of all threads are merged into the first thread's. The total
// order (logit, then lowest id) makes the result the same for every number of threads.
void Decoder::merge(const Thread& thread, const Segment& segment, StepOutput& output) {
  const Range rows = thread.slice(segment.rows);
  for (int64_t i = rows.begin; i < rows.end; ++i) {
    const int64_t row = segment.first_row + i;
    kernels::TopK& best = reductions_[static_cast<size_t>(row)].top;
    for (int64_t other = 1; other < thread.count(); ++other) {
      const size_t place = static_cast<size_t>(other) * asked_.size() + static_cast<size_t>(row);
      const RowReduction& found = reductions_[place];
      thread.kernels().merge_top(found.top, &best);
    }
    if (!segment.ids.empty()) {
      for (int32_t c = 0; c < best.count; ++c) {
        best.ids[c] = segment.ids[static_cast<size_t>(best.ids[c])];
      }
    }
    const auto index = static_cast<size_t>(asked_[static_cast<size_t>(row)]);
    output.candidates[index] = best;
    output.log_sum[index] =
        output.want_log_sum
            ? thread.kernels().log_sum_exp(tile_max_.need(0) + row * most_tiles_,
                                           tile_sum_.need(0) + row * most_tiles_, segment.tiles())
            : 0.0f;
  }
}

}  // namespace pytransformer::nn
