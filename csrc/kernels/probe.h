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
  for (int i = 1; i < kChains; ++i) chains[0] = chains[0] + chains[i];
  return static_cast<float>(sum(chains[0]));
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

// From one end to the other: the hardware prefetches one stream better than several.
float probe_reads(const float* x, int64_t count) {
  constexpr int64_t kChains = kManyRegisters ? 8 : 4;
  F32x16 total[kChains] = {};
  for (int64_t i = 0; i + kChains * kLanes <= count; i += kChains * kLanes) {
#pragma GCC unroll 16
    for (int64_t c = 0; c < kChains; ++c) total[c] = total[c] + load(x + i + c * kLanes);
  }
  for (int64_t c = 1; c < kChains; ++c) total[0] = total[0] + total[c];
  return sum(total[0]);
}

}  // namespace
}  // namespace pytransformer::kernels
