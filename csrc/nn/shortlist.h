// An output layer for some of the vocabulary's tokens: their weights, gathered from the model's.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "nn/model.h"
#include "simd/aligned.h"

namespace pytransformer::nn {

class Shortlist {
 public:
  // `ids`: tokens in order, each once, at least one.
  Shortlist(const Linear& output, std::vector<int32_t> ids);
  // What one takes.
  static int64_t bytes(const Linear& output, int64_t ids);
  Shortlist(const Shortlist&) = delete;
  Shortlist& operator=(const Shortlist&) = delete;

  std::span<const int32_t> ids() const { return ids_; }
  const Linear& layer() const { return layer_; }

 private:
  void gather_weights(const kernels::Panels& all);
  void gather_scales(const kernels::Panels& all);

  std::vector<int32_t> ids_;
  Linear layer_;
  simd::AlignedBuffer<std::byte> weights_;
  simd::AlignedBuffer<std::byte> scales_;
  simd::AlignedBuffer<float> bias_;
};

}  // namespace pytransformer::nn
