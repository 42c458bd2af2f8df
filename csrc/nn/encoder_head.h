// Pooler and classifier, which read the first row of each source that an encoder has read.
#pragma once

#include <cstdint>
#include <span>

#include "nn/layers.h"
#include "nn/model.h"
#include "nn/team.h"

namespace pytransformer::nn {

class EncoderHead {
 public:
  EncoderHead(const Model& model, Team& team);
  // Most that its buffers take as long as no run has more sources.
  static int64_t bytes(const ModelSpec& model, int threads, int64_t sources);

  // One row for each source; null where the model lacks the layer. They stay valid until the next
  // call.
  struct Output {
    Rows pooled;
    Rows logits;
  };
  // `states` as the encoder gives them, of sources with so many rows each.
  Output run(Rows states, std::span<const int64_t> lengths);

 private:
  static StackSpec stack_of(const ModelSpec& model);

  const Model& model_;
  Team& team_;
  StackSpec spec_;  // the encoder's, as wide as the head needs it
  StackWorkspace workspace_;
  GrowingBuffer<float> pooled_;
  GrowingBuffer<float> logits_;
};

}  // namespace pytransformer::nn
