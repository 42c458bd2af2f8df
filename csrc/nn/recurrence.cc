// What some decoders have in the place of self-attention: a state that each token carries on. A
// thread owns columns of it. The rows of a hypothesis come in order, so that a row finds the state
// of the one before it.
#include "nn/decoder.h"

namespace pytransformer::nn {

using kernels::kLanes;
using kernels::Operand;

Decoder::RowState Decoder::row_state(int64_t layer, int64_t row) const {
  const StepRow& step = rows_[static_cast<size_t>(row)];
  SelfCache& cache =
      *sentences_[static_cast<size_t>(sentence_of_row_[static_cast<size_t>(row)])].self;
  const float* const previous =
      step.position == 0 ? nullptr : cache.state(layer, step.path[step.position - 1]);
  return {previous, cache.state(layer, step.slot), step.position + 1};
}

void Decoder::ssru(Pass& pass, int64_t layer) {
  const Ssru& weights = model_.decoder_layer(layer).ssru;
  const Operand input = pass.enter(weights.norm, weights.input_forget.weight.type);
  const Range own = pass.own_panels();
  const int64_t width = model_.spec().decoder.width();
  const int64_t panels = width / kLanes;
  const Rows both = buffers_->heads;
  pass.product(weights.input_forget, own, input, both);
  pass.product(weights.input_forget, {panels + own.begin, panels + own.end}, input, both);
  const int64_t column = own.begin * kLanes;
  for (int64_t row = 0; row < buffers_->rows; ++row) {
    const RowState memory = row_state(layer, row);
    kernels::RecurrentArgs args = {};
    args.count = own.size() * kLanes;
    args.input = both.row(row) + column;
    args.forget = args.input + width;
    args.previous = memory.previous == nullptr ? nullptr : memory.previous + column;
    args.state = memory.state + column;
    args.out = buffers_->context.row(row) + column;
    pass.thread().kernels().recur(args);
  }
  pass.thread().meet();
  if (weights.output.exists()) {
    pass.leave(weights.output, weights.norm, buffers_->context);
  } else {
    pass.leave(weights.norm, buffers_->context);
  }
}

// Writes the mean of all inputs up to each row to the context.
void Decoder::running_mean(const Pass& pass, int64_t layer) {
  const Range own = pass.own_panels();
  const int64_t column = own.begin * kLanes;
  for (int64_t row = 0; row < buffers_->rows; ++row) {
    const RowState memory = row_state(layer, row);
    kernels::RunningMeanArgs args = {};
    args.count = own.size() * kLanes;
    args.x = pass.input().row(row) + column;
    args.previous = memory.previous == nullptr ? nullptr : memory.previous + column;
    args.steps = memory.steps;
    args.total = memory.state + column;
    args.mean = buffers_->context.row(row) + column;
    pass.thread().kernels().running_mean(args);
  }
  pass.thread().meet();
}

void Decoder::average_attention(Pass& pass, int64_t layer) {
  const StackSpec& spec = model_.spec().decoder;
  const AverageAttention& weights = model_.decoder_layer(layer).average;
  const Thread& thread = pass.thread();
  const Rows input_gate = buffers_->heads;
  const Rows forget_gate = {input_gate.data + spec.width(), input_gate.stride};
  const Range own = pass.own_panels();
  const kernels::ComputeType type = weights.input_gate.weight.type;
  const Operand input = pass.enter(weights.norm, type);
  if (weights.input_gate.exists()) pass.product(weights.input_gate, own, input, input_gate);
  running_mean(pass, layer);

  Rows x = buffers_->context;
  for (size_t i = 0; i < weights.layers.size(); ++i) {
    const Linear& linear = weights.layers[i];
    const bool last = i + 1 == weights.layers.size();
    const Rows y = i % 2 == 0 ? buffers_->hidden : buffers_->hidden_gate;
    const Operand operand = pass.convert(x, linear.inputs, linear.weight.type);
    pass.product(linear, thread.slice(linear.panels()), operand, y,
                 last ? kernels::Activation::none : spec.average->activation);
    thread.meet();
    x = y;
  }
  if (weights.forget_gate.exists()) {
    const Operand operand =
        pass.convert(x, weights.forget_gate.inputs, weights.forget_gate.weight.type);
    pass.product(weights.forget_gate, own, operand, forget_gate);
    // The operand may be x itself.
    thread.meet();
    const int64_t column = own.begin * kLanes;
    for (int64_t row = 0; row < buffers_->rows; ++row) {
      thread.kernels().mix(forget_gate.row(row) + column, input_gate.row(row) + column,
                           pass.input().row(row) + column, own.size() * kLanes,
                           x.row(row) + column);
    }
    thread.meet();
  }
  pass.leave(weights.norm, x);
}

}  // namespace pytransformer::nn
