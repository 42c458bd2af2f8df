#include "nn/cache.h"

namespace pytransformer::nn {

using kernels::CacheType;

CacheType cache_type(kernels::ComputeType model) {
  return model == kernels::ComputeType::float32 ? CacheType::float32 : CacheType::bfloat16;
}

int64_t CrossCache::bytes(const StackSpec& decoder, CacheType type, int64_t source_length) {
  const int64_t rows = kernels::padded(source_length) + source_length;
  return simd::allocated(decoder.num_layers * decoder.heads_width() * rows * bytes_of(type));
}

CrossCache::CrossCache(const StackSpec& decoder, CacheType type, int64_t source_length)
    : type_(type),
      source_length_(source_length),
      num_heads_(decoder.num_heads),
      keys_bytes_(kernels::padded(source_length) * decoder.head_width() * bytes_of(type)),
      values_bytes_(source_length * decoder.head_width() * bytes_of(type)) {
  buffer_.resize_discard(static_cast<size_t>(decoder.num_layers * num_heads_ * head_bytes()));
}

SelfCache::Slot SelfCache::slot_of(const StackSpec& decoder, CacheType type) {
  if (decoder.autoregression == Autoregression::self_attention) {
    return {decoder.head_width() * bytes_of(type), decoder.num_layers * decoder.num_heads * 2};
  }
  return {decoder.width() * static_cast<int64_t>(sizeof(float)), decoder.num_layers};
}

SelfCache::SelfCache(const StackSpec& decoder, CacheType type)
    : type_(type),
      num_heads_(decoder.num_heads),
      row_bytes_(slot_of(decoder, type).row_bytes),
      rows_(slot_of(decoder, type).rows) {}

int64_t SelfCache::bytes(const StackSpec& decoder, CacheType type, int64_t slots) {
  const Slot slot = slot_of(decoder, type);
  const int64_t chunks = (slots + kernels::kSlotsPerChunk - 1) / kernels::kSlotsPerChunk;
  constexpr auto kListed =
      static_cast<int64_t>(sizeof(simd::AlignedBuffer<std::byte>) + sizeof(const std::byte*) +
                           sizeof(int32_t) * kernels::kSlotsPerChunk);
  const int64_t chunk = simd::allocated(slot.rows * slot.row_bytes * kernels::kSlotsPerChunk);
  return simd::times(chunks, chunk) + simd::allocated_by_growth(simd::times(chunks, kListed));
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
