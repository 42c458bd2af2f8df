// What the decoder remembers of one sentence: the encoder's keys and values, and those of the
// tokens decoded so far. State lives outside the model.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "kernels/kernels.h"
#include "nn/spec.h"
#include "simd/aligned.h"

namespace pytransformer::nn {

// The numbers of both caches: float32 where the model computes in float32; else bfloat16, which
// halves what attention reads.
kernels::CacheType cache_type(kernels::ComputeType model);

// Keys and values of the encoder's states for all decoder layers; shared by all beams. They lie in
// the order in which they are read: layer by layer, head by head, keys before values.
class CrossCache {
 public:
  CrossCache(const StackSpec& decoder, kernels::CacheType type, int64_t source_length);
  // What one takes.
  static int64_t bytes(const StackSpec& decoder, kernels::CacheType type, int64_t source_length);

  kernels::CacheType type() const { return type_; }
  int64_t source_length() const { return source_length_; }
  int64_t head_bytes() const { return keys_bytes_ + values_bytes_; }
  // Keys of one head: [padded(source_length) / 16, head_width, 16].
  std::byte* keys(int64_t layer, int64_t head) {
    return buffer_.data() + (layer * num_heads_ + head) * head_bytes();
  }
  const std::byte* keys(int64_t layer, int64_t head) const {
    return const_cast<CrossCache*>(this)->keys(layer, head);
  }
  // Values of one head: [source_length, head_width].
  std::byte* values(int64_t layer, int64_t head) { return keys(layer, head) + keys_bytes_; }
  const std::byte* values(int64_t layer, int64_t head) const {
    return keys(layer, head) + keys_bytes_;
  }

 private:
  kernels::CacheType type_;
  int64_t source_length_;
  int64_t num_heads_;
  int64_t keys_bytes_;
  int64_t values_bytes_;
  simd::AlignedBuffer<std::byte> buffer_;
};

// What the decoder keeps of decoded tokens, in slots: keys and values, or the state behind the
// token where something else stands in the place of self-attention. A slot holds one token of one
// hypothesis, for all layers; hypotheses are lists of slots, so that reordering beams moves indices
// and no numbers. Slots of dropped hypotheses are used again. Memory grows by chunks and is never
// moved.
class SelfCache {
 public:
  SelfCache(const StackSpec& decoder, kernels::CacheType type);
  // Most that one takes as long as no more slots are in use at once.
  static int64_t bytes(const StackSpec& decoder, kernels::CacheType type, int64_t slots);

  kernels::CacheType type() const { return type_; }
  int32_t allocate();
  void release(int32_t slot) { free_.push_back(slot); }

  // Offsets in a chunk, in bytes; it holds [layers, heads, key | value, slots, head_width].
  const std::byte* const* chunks() const { return addresses_.data(); }
  int64_t key_offset(int64_t layer, int64_t head) const {
    return (layer * num_heads_ + head) * head_bytes();
  }
  int64_t value_offset(int64_t layer, int64_t head) const {
    return key_offset(layer, head) + head_bytes() / 2;
  }
  int64_t head_bytes() const { return 2 * kernels::kSlotsPerChunk * row_bytes_; }
  std::byte* key(int64_t layer, int64_t head, int32_t slot) {
    return row(key_offset(layer, head), slot);
  }
  std::byte* value(int64_t layer, int64_t head, int32_t slot) {
    return row(value_offset(layer, head), slot);
  }
  // The state [width] of a layer without self-attention, in float32: its error would add up. A
  // chunk then holds [layers, slots, width].
  float* state(int64_t layer, int32_t slot) {
    return reinterpret_cast<float*>(row(layer * kernels::kSlotsPerChunk * row_bytes_, slot));
  }

 private:
  struct Slot {
    int64_t row_bytes;
    int64_t rows;
  };

  static Slot slot_of(const StackSpec& decoder, kernels::CacheType type);
  std::byte* row(int64_t offset, int32_t slot) {
    return chunks_[static_cast<size_t>(slot / kernels::kSlotsPerChunk)].data() + offset +
           slot % kernels::kSlotsPerChunk * row_bytes_;
  }

  kernels::CacheType type_;
  int64_t num_heads_;
  int64_t row_bytes_;
  int64_t rows_;  // of a slot
  std::vector<simd::AlignedBuffer<std::byte>> chunks_;
  std::vector<const std::byte*> addresses_;
  std::vector<int32_t> free_;
};

}  // namespace pytransformer::nn
