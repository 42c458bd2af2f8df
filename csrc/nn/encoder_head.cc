#include "nn/encoder_head.h"

#include <algorithm>

namespace pytransformer::nn {
namespace {

void apply(Pass& pass, const Linear& layer, Rows x, Rows y, kernels::Activation activation) {
  const kernels::Operand input = pass.convert(x, layer.inputs, layer.weight.type);
  pass.product(layer, pass.thread().slice(layer.panels()), input, y, activation);
  pass.thread().meet();
}

}  // namespace

EncoderHead::EncoderHead(const Model& model, Team& team)
    : model_(model), team_(team), spec_(stack_of(model.spec())) {}

StackSpec EncoderHead::stack_of(const ModelSpec& model) {
  StackSpec spec = model.encoder;
  if (model.head) spec.d_ff = std::max(spec.d_ff, model.head->pooler_size);
  return spec;
}

int64_t EncoderHead::bytes(const ModelSpec& model, int threads, int64_t sources) {
  if (!model.head) return 0;
  return StackWorkspace::bytes(sources, stack_of(model), threads) +
         GrowingBuffer<float>::bytes(sources * kernels::padded(model.head->pooler_size)) +
         GrowingBuffer<float>::bytes(sources * kernels::padded(model.head->labels));
}

EncoderHead::Output EncoderHead::run(Rows states, std::span<const int64_t> lengths) {
  if (!model_.spec().head) return {};
  const HeadSpec& head = *model_.spec().head;
  const Linear& pooler = model_.head().pooler;
  const Linear& classifier = model_.head().classifier;
  const auto count = static_cast<int64_t>(lengths.size());
  const StackBuffers& buffers = workspace_.need(count, spec_, team_.threads());
  int64_t row = 0;
  for (int64_t i = 0; i < count; ++i) {
    std::copy_n(states.row(row), spec_.width(), buffers.x.row(i));
    row += lengths[static_cast<size_t>(i)];
  }
  Output output = {};
  if (pooler.exists()) {
    output.pooled = {pooled_.need(count * pooler.outputs), pooler.outputs};
  }
  if (classifier.exists()) {
    output.logits = {logits_.need(count * classifier.outputs), classifier.outputs};
  }
  team_.run([&](const Thread& thread) {
    Pass pass(thread, spec_, buffers);
    if (pooler.exists()) apply(pass, pooler, buffers.x, output.pooled, head.pooler_activation);
    const Rows read = pooler.exists() ? output.pooled : buffers.x;
    if (classifier.exists()) {
      apply(pass, classifier, read, output.logits, kernels::Activation::none);
    }
  });
  return output;
}

}  // namespace pytransformer::nn
