#include "nn/cache.h"

namespace pytransformer::nn {

CrossCache::CrossCache(const StackSpec& decoder, int64_t source_length)
    : source_length_(source_length),
      num_heads_(decoder.num_heads),
      heads_width_(decoder.heads_width()),
      head_size_(kernels::padded(source_length) * decoder.head_width()) {
  keys_.resize_discard(static_cast<size_t>(decoder.num_layers * num_heads_ * head_size_));
  values_.resize_discard(static_cast<size_t>(decoder.num_layers * source_length_ * heads_width_));
}

SelfCache::SelfCache(const StackSpec& decoder)
    : num_layers_(decoder.num_layers),
      heads_width_(decoder.heads_width()),
      layer_size_(kernels::kSlotsPerChunk * heads_width_) {}

int32_t SelfCache::allocate() {
  if (free_.empty()) {
    const auto first =
        static_cast<int32_t>(static_cast<int64_t>(chunks_.size()) * kernels::kSlotsPerChunk);
    simd::AlignedBuffer<float> chunk;
    chunk.resize_discard(static_cast<size_t>(2 * num_layers_ * layer_size_));
    chunks_.push_back(std::move(chunk));
    addresses_.push_back(chunks_.back().data());
    for (auto i = static_cast<int32_t>(kernels::kSlotsPerChunk); i-- > 0;) {
      free_.push_back(first + i);
    }
  }
  const int32_t slot = free_.back();
  free_.pop_back();
  return slot;
}

}  // namespace pytransformer::nn
