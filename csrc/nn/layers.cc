#include "nn/layers.h"

#include <algorithm>
#include <utility>

namespace pytransformer::nn {

using kernels::Activation;
using kernels::ComputeType;
using kernels::kLanes;
using kernels::kMaxStreamRows;
using kernels::Operand;
using kernels::padded;
using simd::allocated_by_growth;

namespace {

// Numbers of one row in each buffer.
struct Widths {
  int64_t width;
  int64_t parts;
  int64_t context;
  int64_t hidden;
  int64_t gate;
  int64_t words;
  int64_t groups;
};

Widths widths_of(const StackSpec& spec) {
  const int64_t width = spec.width();
  const int64_t heads = spec.heads_width();
  const int64_t average = spec.average ? std::max(padded(spec.average->width), width) : 0;
  const int64_t hidden = std::max(padded(spec.d_ff), average);
  const bool two_hidden = spec.gated || spec.feed_forward_depth > 2 || average > 0;
  // No format needs more words than float32, nor more sums than int4.
  const int64_t words = std::max({width, heads, hidden, padded(spec.vector_size)});
  return {width,
          std::max(3 * heads, 2 * width),
          std::max(heads, width),
          hidden,
          two_hidden ? hidden : 0,
          words,
          kernels::groups_of(words)};
}

}  // namespace

int64_t StackWorkspace::bytes(int64_t rows, const StackSpec& spec, int threads) {
  const Widths widths = widths_of(spec);
  const int64_t own = threads * kOwnRows;
  const int64_t operands = rows + own;
  int64_t total = allocated_by_growth(
      threads * static_cast<int64_t>(sizeof(Rows) + sizeof(OperandBuffer) + sizeof(uint32_t*)));
  for (const int64_t numbers :
       {rows * widths.width, rows * widths.width, rows * widths.parts, rows * widths.context,
        rows * widths.hidden, rows * widths.gate, operands * widths.words, operands,
        operands * widths.groups, own * widths.width,
        threads * kernels::kMaxTileRows * widths.words}) {
    total += GrowingBuffer<float>::bytes(numbers);  // all have four bytes
  }
  return total;
}

const StackBuffers& StackWorkspace::need(int64_t rows, const StackSpec& spec, int threads) {
  const auto [width, parts, context, hidden, gate, words, groups] = widths_of(spec);
  const int64_t operands = rows + threads * kOwnRows;
  buffers_.rows = rows;
  buffers_.x = {x_.need(rows * width), width};
  buffers_.normed = {normed_.need(rows * width), width};
  buffers_.heads = {heads_.need(rows * parts), parts};
  buffers_.context = {context_.need(rows * context), context};
  buffers_.hidden = {hidden_.need(rows * hidden), hidden};
  buffers_.hidden_gate = {hidden_gate_.need(rows * gate), gate};

  buffers_.operand = {words_.need(operands * words), scales_.need(operands),
                      sums_.need(operands * groups)};
  buffers_.own_normed.clear();
  buffers_.own_operand.clear();
  buffers_.tile.clear();
  float* const own_normed = own_normed_.need(threads * kOwnRows * width);
  uint32_t* const tiles = tiles_.need(threads * kernels::kMaxTileRows * words);
  for (int64_t i = 0; i < threads; ++i) {
    const int64_t first = rows + i * kOwnRows;
    buffers_.own_normed.push_back({own_normed + i * kOwnRows * width, width});
    buffers_.own_operand.push_back({buffers_.operand.words + first * words,
                                    buffers_.operand.scales + first,
                                    buffers_.operand.sums + first * groups});
    buffers_.tile.push_back(tiles + i * kernels::kMaxTileRows * words);
  }
  return buffers_;
}

void Pass::embed(const Embedding& embedding, const int32_t* ids, const int32_t* positions) {
  const Range slice = thread_.slice(rows_);
  kernels::EmbedArgs args = {};
  args.rows = slice.size();
  args.k = spec_.width();
  args.ids = ids + slice.begin;
  args.embedding = embedding.weight;
  args.scale = spec_.embedding_scale;
  args.table = embedding.positions;
  args.positions = positions + slice.begin;
  args.y = buffers_.x.row(slice.begin);
  args.ldy = buffers_.x.stride;
  thread_.kernels().embed(args);
  thread_.meet();
  pending_ = embedding.norm;
}

void Pass::embed_vectors(const Embedding& embedding, Rows vectors, const int32_t* positions) {
  const Linear& layer = embedding.vectors;
  const Operand input = convert(vectors, layer.inputs, layer.weight.type);
  const Range panels = own_panels();
  product(layer, panels, input, buffers_.x);
  const int64_t column = panels.begin * kLanes;
  for (int64_t row = 0; row < rows_ && embedding.positions != nullptr; ++row) {
    const float* const position = embedding.positions + positions[row] * spec_.width();
    thread_.kernels().add(position + column, panels.size() * kLanes, buffers_.x.row(row) + column);
  }
  thread_.meet();
  pending_ = embedding.norm;
}

void Pass::normalise(const LayerNorm& norm, int64_t first, int64_t rows, Rows from, Rows to) const {
  kernels::LayerNormArgs args = {};
  args.kind = spec_.norm;
  args.rows = rows;
  args.columns = spec_.d_model;
  args.x = from.row(first);
  args.ldx = from.stride;
  args.weight = norm.weight;
  args.bias = norm.bias;
  args.epsilon = spec_.norm_epsilon;
  args.y = to.row(first);
  args.ldy = to.stride;
  thread_.kernels().layer_norm(args);
}

// Norm (unless its pointers are null) and conversion in one pass over the rows; alone, or shared by
// all threads.
Operand Pass::prepared(const LayerNorm& norm, Rows x, Rows normed, int64_t width,
                       ComputeType type) {
  const kernels::Table& kernels = thread_.kernels();
  const bool packed = rows_ > kMaxStreamRows;
  const bool as_it_is = !packed && type == ComputeType::float32;
  const auto index = static_cast<size_t>(thread_.index());
  const OperandBuffer& out = alone() ? buffers_.own_operand[index] : buffers_.operand;
  const int64_t words = kernels::words_of(type, width);
  const Rows source = norm.weight == nullptr ? x : normed;

  kernels::PrepareArgs args = {};
  args.type = type;
  args.m = rows_;
  args.k = width;
  args.x = source.data;
  args.ldx = source.stride;
  args.words = out.words;
  args.ld = words;
  args.scales = out.scales;
  args.sums = out.sums;
  args.scratch = buffers_.tile[index];
  const kernels::BalancedCut units = {rows_, packed ? kernels.row_tiles(type, rows_) : rows_};
  const Range mine = alone() ? Range{0, units.parts} : thread_.slice(units.parts);
  for (int64_t unit = mine.begin; unit < mine.end; ++unit) {
    if (norm.weight != nullptr) normalise(norm, units.begin(unit), units.size(unit), x, normed);
    args.unit_begin = unit;
    args.unit_end = unit + 1;
    if (!as_it_is) kernels.prepare_rows(args);
  }
  if (!alone()) thread_.meet();
  if (as_it_is) {
    return {reinterpret_cast<const uint32_t*>(source.data), source.stride, nullptr, nullptr};
  }
  return {out.words, words, out.scales, out.sums};
}

Operand Pass::normalised(const LayerNorm& norm, ComputeType type, bool in_place) {
  Rows target = in_place ? buffers_.x : buffers_.normed;
  if (alone()) target = buffers_.own_normed[static_cast<size_t>(thread_.index())];
  const Operand operand = prepared(norm, buffers_.x, target, spec_.width(), type);
  input_ = norm.weight != nullptr ? target : buffers_.x;
  residual_ = in_place ? input_ : buffers_.x;
  return operand;
}

Operand Pass::enter(const LayerNorm& norm, ComputeType type) {
  if (is_post()) return normalised(pending_, type, true);
  if (pending_.weight != nullptr) finish({});  // of the embedding, before the first sublayer
  return normalised(norm, type, false);
}

void Pass::leave(const Linear& output, const LayerNorm& norm, Rows context) {
  const Operand x = convert(context, output.inputs, output.weight.type);
  const Range panels = thread_.slice(output.panels());
  kernels::GemmArgs args = gemm_args(output, panels, x, buffers_.x);
  args.residual = residual_.data + panels.begin * kLanes;
  args.ldr = residual_.stride;
  thread_.kernels().gemm(args);
  thread_.meet();
  if (is_post()) pending_ = norm;
}

void Pass::leave(const LayerNorm& norm, Rows context) {
  const Range panels = own_panels();
  const int64_t column = panels.begin * kLanes;
  const int64_t count = panels.size() * kLanes;
  for (int64_t row = 0; row < rows_; ++row) {
    float* const x = buffers_.x.row(row) + column;
    if (residual_.data != buffers_.x.data) std::copy_n(residual_.row(row) + column, count, x);
    thread_.kernels().add(context.row(row) + column, count, x);
  }
  thread_.meet();
  if (is_post()) pending_ = norm;
}

Operand Pass::finish(const LayerNorm& final_norm, ComputeType type) {
  if (pending_.weight == nullptr) return normalised(final_norm, type, false);
  if (final_norm.weight == nullptr) return normalised(pending_, type, true);
  finish(final_norm);
  return normalised({}, type, false);
}

void Pass::finish(const LayerNorm& final_norm) {
  const Range rows = thread_.slice(rows_);
  for (const LayerNorm& norm : {pending_, final_norm}) {
    if (norm.weight != nullptr) normalise(norm, rows.begin, rows.size(), buffers_.x, buffers_.x);
  }
  thread_.meet();
  pending_ = {};
}

Operand Pass::convert(Rows x, int64_t width, ComputeType type) {
  return prepared({}, x, {}, width, type);
}

Operand Pass::operand_of_rows(int64_t first, int64_t rows, ComputeType type) const {
  const Rows x = buffers_.x;
  if (type == ComputeType::float32 && rows <= kMaxStreamRows) {
    return {reinterpret_cast<const uint32_t*>(x.row(first)), x.stride, nullptr, nullptr};
  }
  const int64_t words = kernels::words_of(type, spec_.width());
  const OperandBuffer& out = buffers_.operand;
  return {out.words + first * words, words, out.scales + first,
          out.sums + first * kernels::groups_of(spec_.width())};
}

void Pass::convert_rows(int64_t first, int64_t rows, ComputeType type) const {
  const kernels::Table& kernels = thread_.kernels();
  const bool packed = rows > kMaxStreamRows;
  if (type == ComputeType::float32 && !packed) return;
  const OperandBuffer& out = buffers_.operand;
  const int64_t words = kernels::words_of(type, spec_.width());
  kernels::PrepareArgs args = {};
  args.type = type;
  args.m = rows;
  args.k = spec_.width();
  args.x = buffers_.x.row(first);
  args.ldx = buffers_.x.stride;
  args.unit_end = packed ? kernels.row_tiles(type, rows) : rows;
  args.words = out.words + first * words;
  args.ld = words;
  args.scales = out.scales + first;
  args.sums = out.sums + first * kernels::groups_of(spec_.width());
  args.scratch = buffers_.tile[static_cast<size_t>(thread_.index())];
  kernels.prepare_rows(args);
}

kernels::GemmArgs Pass::gemm_args(const Linear& layer, Range panels, const Operand& x,
                                  Rows y) const {
  const int64_t column = panels.begin * kLanes;
  kernels::GemmArgs args = {};
  args.m = rows_;
  args.k = layer.inputs;
  args.panels = panels.size();
  args.a = x;
  args.b = layer.weight.from(panels.begin);
  args.c = y.data + column;
  args.ldc = y.stride;
  args.bias = layer.bias == nullptr ? nullptr : layer.bias + column;
  args.activation = Activation::none;
  return args;
}

void Pass::product(const Linear& layer, Range panels, const Operand& x, Rows y,
                   Activation activation) const {
  kernels::GemmArgs args = gemm_args(layer, panels, x, y);
  args.activation = activation;
  thread_.kernels().gemm(args);
}

void Pass::product_of_heads(const Linear& layer, int64_t parts, const Operand& x, Rows y) const {
  if (thread_.count() > spec_.num_heads) {
    product(layer, thread_.slice(layer.panels()), x, y);
    thread_.meet();
    return;
  }
  const int64_t head_panels = spec_.head_width() / kLanes;
  const Range heads = own_heads();
  for (int64_t part = 0; part < parts; ++part) {
    const int64_t first = part * spec_.num_heads;
    product(layer, {(first + heads.begin) * head_panels, (first + heads.end) * head_panels}, x, y);
  }
}

void Pass::keep(std::span<const int32_t> rows) {
  const auto count = static_cast<int64_t>(rows.size());
  if (count == rows_) return;
  const Range panels = own_panels();
  const int64_t column = panels.begin * kLanes;
  for (int64_t i = 0; i < count; ++i) {
    const float* const from = buffers_.x.row(rows[static_cast<size_t>(i)]) + column;
    float* const to = buffers_.x.row(i) + column;
    if (from != to) std::copy_n(from, panels.size() * kLanes, to);
  }
  thread_.meet();
  rows_ = count;
}

void Pass::feed_forward(const FeedForward& layer) {
  const Operand input = enter(layer.norm, layer.up.weight.type);
  const Range panels = thread_.slice(layer.up.panels());
  Rows hidden = buffers_.hidden;
  Rows other = buffers_.hidden_gate;
  if (spec_.gated) {
    product(layer.up, panels, input, hidden);
    product(layer.gate, panels, input, other, spec_.activation);
    for (int64_t row = 0; row < rows_; ++row) {
      thread_.kernels().multiply(other.row(row) + panels.begin * kLanes, panels.size() * kLanes,
                                 hidden.row(row) + panels.begin * kLanes);
    }
  } else {
    product(layer.up, panels, input, hidden, spec_.activation);
  }
  thread_.meet();
  for (const Linear& middle : layer.middle) {
    const Operand x = convert(hidden, middle.inputs, middle.weight.type);
    product(middle, thread_.slice(middle.panels()), x, other, spec_.activation);
    thread_.meet();
    std::swap(hidden, other);
  }
  leave(layer.down, layer.norm, hidden);
}

}  // namespace pytransformer::nn
