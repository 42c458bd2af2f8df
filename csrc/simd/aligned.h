// Owning memory aligned to a cache line, which is also the widest register.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <limits>
#include <memory>
#include <new>
#include <span>
#include <type_traits>
#include <utility>

namespace pytransformer::simd {

inline constexpr size_t kAlignment = 64;

// Bytes that a block of memory may take, with what allocators add: a header and the way to an
// aligned place, and whole pages for a large block.
constexpr int64_t allocated(int64_t bytes) {
  constexpr int64_t kLarge = 64 << 10;
  constexpr int64_t kPage = 4096;
  if (bytes == 0) return 0;
  return bytes + 2 * static_cast<int64_t>(kAlignment) + (bytes < kLarge ? 0 : kPage);
}

// More than any machine has. Sizes that follow from what a caller asks for need not fit 64 bits.
inline constexpr int64_t kEndlessBytes = int64_t{1} << 56;
constexpr int64_t times(int64_t a, int64_t b) {
  int64_t product = 0;
  return __builtin_mul_overflow(a, b, &product) ? kEndlessBytes : std::min(product, kEndlessBytes);
}
template <typename... Factors>
constexpr int64_t times(int64_t a, int64_t b, Factors... others) {
  return times(times(a, b), others...);
}

// The same of a vector that comes to hold so many: it grows by doubling, and while it moves there
// are two of it.
constexpr int64_t allocated_by_growth(int64_t bytes) { return allocated(3 * bytes); }

// A block of `size()` numbers. It grows but never shrinks, so that buffers that are resized at
// every step stop allocating after the first ones.
template <typename T>
class AlignedBuffer {
  static_assert(std::is_trivially_copyable_v<T> && std::is_trivially_destructible_v<T>);

 public:
  AlignedBuffer() = default;
  // Uninitialised.
  explicit AlignedBuffer(size_t size) { resize_discard(size); }

  static AlignedBuffer zeros(size_t size) {
    AlignedBuffer buffer(size);
    buffer.fill_zero();
    return buffer;
  }

  AlignedBuffer(AlignedBuffer&& other) noexcept { swap(other); }
  AlignedBuffer& operator=(AlignedBuffer&& other) noexcept {
    AlignedBuffer moved(std::move(other));
    swap(moved);
    return *this;
  }

  // Makes the size `size`. The contents are lost if the buffer has to grow, and kept otherwise; new
  // elements are uninitialised.
  void resize_discard(size_t size) {
    if (size > capacity_) {
      if (size > std::numeric_limits<size_t>::max() / sizeof(T)) throw std::bad_alloc();
      data_.reset();
      size_ = capacity_ = 0;
      data_.reset(static_cast<T*>(::operator new(size * sizeof(T), std::align_val_t(kAlignment))));
      capacity_ = size;
    }
    size_ = size;
  }

  void fill_zero() {
    if (size_ != 0) std::memset(data_.get(), 0, size_ * sizeof(T));
  }

  T* data() { return data_.get(); }
  const T* data() const { return data_.get(); }
  size_t size() const { return size_; }
  bool empty() const { return size_ == 0; }
  T& operator[](size_t i) { return data_.get()[i]; }
  const T& operator[](size_t i) const { return data_.get()[i]; }
  std::span<T> span() { return {data(), size_}; }
  std::span<const T> span() const { return {data(), size_}; }

  void swap(AlignedBuffer& other) noexcept {
    data_.swap(other.data_);
    std::swap(size_, other.size_);
    std::swap(capacity_, other.capacity_);
  }

 private:
  struct Free {
    void operator()(T* p) const { ::operator delete(p, std::align_val_t(kAlignment)); }
  };

  std::unique_ptr<T, Free> data_;
  size_t size_ = 0;
  size_t capacity_ = 0;
};

}  // namespace pytransformer::simd
