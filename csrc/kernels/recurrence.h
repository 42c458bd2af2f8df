// What decoders without self-attention do to remember, and the arithmetic of gates.
#pragma once

#include "kernels/activation.h"

namespace pytransformer::kernels {
namespace {

void recur(const RecurrentArgs& args) {
  for (int64_t i = 0; i < args.count; i += kLanes) {
    const F32x16 f = sigmoid(load(args.forget + i));
    const F32x16 previous = args.previous == nullptr ? broadcast(0.0f) : load(args.previous + i);
    const F32x16 state = fma(f, previous, (broadcast(1.0f) - f) * load(args.input + i));
    store(args.state + i, state);
    store(args.out + i, relu(state));
  }
}

void running_mean(const RunningMeanArgs& args) {
  const F32x16 steps = broadcast(static_cast<float>(args.steps));
  for (int64_t i = 0; i < args.count; i += kLanes) {
    F32x16 total = load(args.x + i);
    if (args.previous != nullptr) total = load(args.previous + i) + total;
    store(args.total + i, total);
    store(args.mean + i, total / steps);
  }
}

void multiply(const float* x, int64_t count, float* y) {
  for (int64_t i = 0; i < count; i += kLanes) store(y + i, load(y + i) * load(x + i));
}

void add(const float* x, int64_t count, float* y) {
  for (int64_t i = 0; i < count; i += kLanes) store(y + i, load(y + i) + load(x + i));
}

void mix(const float* gate, const float* other_gate, const float* other, int64_t count, float* y) {
  for (int64_t i = 0; i < count; i += kLanes) {
    const F32x16 rest = sigmoid(load(other_gate + i)) * load(other + i);
    store(y + i, fma(sigmoid(load(gate + i)), load(y + i), rest));
  }
}

}  // namespace
}  // namespace pytransformer::kernels
