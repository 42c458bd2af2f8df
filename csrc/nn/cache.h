// What the decoder remembers of one sentence: the encoder's keys and values, and those of the
// tokens decoded so far. State lives outside the model.
#pragma once

#include <cstdint>
#include <vector>

#include "kernels/kernels.h"
#include "nn/spec.h"
#include "simd/aligned.h"

namespace pytransformer::nn {

// Keys and values of the encoder's states for all decoder layers; shared by all beams.
class CrossCache {
 public:
  CrossCache(const StackSpec& decoder, int64_t source_length);

  int64_t source_length() const { return source_length_; }
  // Keys of one head: [padded(source_length) / 16, head_width, 16].
  float* keys(int64_t layer, int64_t head) {
    return keys_.data() + (layer * num_heads_ + head) * head_size_;
  }
  const float* keys(int64_t layer, int64_t head) const {
    return const_cast<CrossCache*>(this)->keys(layer, head);
  }
  // Values of one layer: [source_length, heads_width].
  float* values(int64_t layer) { return values_.data() + layer * source_length_ * heads_width_; }
  const float* values(int64_t layer) const { return const_cast<CrossCache*>(this)->values(layer); }

 private:
  int64_t source_length_;
  int64_t num_heads_;
  int64_t heads_width_;
  int64_t head_size_;
  simd::AlignedBuffer<float> keys_;
  simd::AlignedBuffer<float> values_;
};

// Keys and values of decoded tokens in slots. A slot holds one token of one hypothesis, for all
// layers; hypotheses are lists of slots, so that reordering beams moves indices and no numbers.
// Slots of dropped hypotheses are used again. Memory grows by chunks and is never moved.
class SelfCache {
 public:
  explicit SelfCache(const StackSpec& decoder);

  int32_t allocate();
  void release(int32_t slot) { free_.push_back(slot); }

  const float* const* chunks() const { return addresses_.data(); }
  int64_t key_offset(int64_t layer) const { return 2 * layer * layer_size_; }
  int64_t value_offset(int64_t layer) const { return (2 * layer + 1) * layer_size_; }
  int64_t row_stride() const { return heads_width_; }
  float* key(int64_t layer, int32_t slot) { return row(key_offset(layer), slot); }
  float* value(int64_t layer, int32_t slot) { return row(value_offset(layer), slot); }

 private:
  float* row(int64_t offset, int32_t slot) {
    return chunks_[static_cast<size_t>(slot / kernels::kSlotsPerChunk)].data() + offset +
           slot % kernels::kSlotsPerChunk * heads_width_;
  }

  int64_t num_layers_;
  int64_t heads_width_;
  int64_t layer_size_;
  std::vector<simd::AlignedBuffer<float>>
      chunks_;  // each [layers, key | value, slots, heads_width]
  std::vector<const float*> addresses_;
  std::vector<int32_t> free_;
};

}  // namespace pytransformer::nn
