// What one core can do at best, by which the other kernels are judged.
#pragma once

#include "kernels/gemm_tile.h"

namespace pytransformer::kernels {
namespace {

// The compiler must take it that `a` was changed.
inline void keep(F32x16& a) { keep_register(a); }
inline void keep(I32x16& a) { keep_register(a); }
template <typename Pair>
inline void keep(Pair& a) {
  keep_register(a.lower);
  keep_register(a.upper);
}

inline F32x16 as_float(F32x16 a) { return a; }
inline F32x16 as_float(I32x16 a) { return to_float(a); }

template <typename Format>
float probe_format(int64_t rounds) {
  constexpr int kChains = kManyRegisters ? 16 : kRegisters - 2;
  alignas(64) uint32_t words[kChains][kLanes];
  for (int i = 0; i < kChains; ++i) {
    for (uint32_t& word : words[i]) word = static_cast<uint32_t>(i);
  }
  typename Format::Weight w = Format::weight(reinterpret_cast<const std::byte*>(words));
  const typename Format::Value x = Format::value(words[1]);
  typename Format::Sum chains[kChains];
  __builtin_memcpy(chains, words, sizeof chains);
  for (int64_t round = 0; round < rounds * kProbeProducts; round += kChains) {
#pragma GCC unroll 16
    for (int i = 0; i < kChains; ++i) {
      // As if w had changed: no part of the product may be taken out of the loop.
      keep(w);
      chains[i] = Format::multiply_add(chains[i], x, w);
    }
  }
  F32x16 total = broadcast(0.0f);
#pragma GCC unroll 16
  for (int i = 0; i < kChains; ++i) total = total + as_float(chains[i]);
  return sum(total);
}

// Weights of int4 are multiplied as int8.
float probe_arithmetic(ComputeType type, int64_t rounds) {
  switch (type) {
    case ComputeType::float32:
      return probe_format<Float32>(rounds);
    case ComputeType::bfloat16:
      return probe_format<BFloat16>(rounds);
    default:
      return probe_format<Int8>(rounds);
  }
}

int64_t arithmetic_per_probe(ComputeType type) {
  return 2 * kLanes *
         (4 / (type == ComputeType::float32    ? 4
               : type == ComputeType::bfloat16 ? 2
                                               : 1));
}

// The sum of kStreams stretches read side by side, kChains lines of each at a time, asking for the
// lines kAhead bytes further on.
template <int64_t kStreams, int64_t kChains, int64_t kAhead>
float probe_streams(const float* x, int64_t count) {
  F32x16 total[kStreams][kChains] = {};
  const int64_t stretch = count / (kStreams * kChains * kLanes) * (kChains * kLanes);
  for (int64_t i = 0; i < stretch; i += kChains * kLanes) {
#pragma GCC unroll 16
    for (int64_t s = 0; s < kStreams; ++s) {
#pragma GCC unroll 16
      for (int64_t c = 0; c < kChains; ++c) {
        const float* const line = x + s * stretch + i + c * kLanes;
        if constexpr (kAhead != 0) {
          __builtin_prefetch(reinterpret_cast<const std::byte*>(line) + kAhead, 0, 2);
        }
        total[s][c] = total[s][c] + load(line);
      }
    }
  }
  for (auto& stream : total) {
    for (const F32x16& chain : stream) total[0][0] = total[0][0] + chain;
  }
  return sum(total[0][0]);
}

// Caches give most to one plain stream, memory to several that ask ahead.
float probe_reads(const float* x, int64_t count, bool from_memory) {
  if (from_memory) return probe_streams<kManyRegisters ? 8 : 4, 1, 8192>(x, count);
  return probe_streams<1, kManyRegisters ? 8 : 4, 0>(x, count);
}

}  // namespace
}  // namespace pytransformer::kernels
