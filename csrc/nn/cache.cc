#include "nn/cache.h"

namespace pytransformer::nn {

using kernels::CacheType;

CacheType cache_type(kernels::ComputeType model) {
  return model == kernels::ComputeType::float32 ? CacheType::float32 : CacheType::bfloat16;
}

CrossCache::CrossCache(const StackSpec& decoder, CacheType type, int64_t source_length)
    : type_(type),
      source_length_(source_length),
      num_heads_(decoder.num_heads),
      keys_bytes_(kernels::padded(source_length) * decoder.head_width() * bytes_of(type)),
      values_bytes_(source_length * decoder.head_width() * bytes_of(type)) {
  buffer_.resize_discard(static_cast<size_t>(decoder.num_layers * num_heads_ * head_bytes()));
}

SelfCache::SelfCache(const StackSpec& decoder, CacheType type)
    : type_(type), num_heads_(decoder.num_heads) {
  if (decoder.autoregression == Autoregression::self_attention) {
    row_bytes_ = decoder.head_width() * bytes_of(type);
    rows_ = decoder.num_layers * num_heads_ * 2;
  } else {
    row_bytes_ = decoder.width() * static_cast<int64_t>(sizeof(float));
    rows_ = decoder.num_layers;
  }
}

int32_t SelfCache::allocate() {
  if (free_.empty()) {
    const auto first =
        static_cast<int32_t>(static_cast<int64_t>(chunks_.size()) * kernels::kSlotsPerChunk);
    simd::AlignedBuffer<std::byte> chunk;
    chunk.resize_discard(static_cast<size_t>(rows_ * kernels::kSlotsPerChunk * row_bytes_));
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
