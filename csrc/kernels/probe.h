// What one core can do at best, by which the other kernels are judged.
#pragma once

#include "kernels/kernels.h"

namespace pytransformer::kernels {
namespace {

float probe_arithmetic(int64_t rounds) {
  constexpr int kChains = kRegisters >= 32 ? 16 : kRegisters - 2;
  F32x16 chains[kChains];
  for (int i = 0; i < kChains; ++i) chains[i] = broadcast(static_cast<float>(i));
  const F32x16 factor = broadcast(0.5f);
  for (int64_t round = 0; round < rounds * kProbeProducts; round += kChains) {
#pragma GCC unroll 16
    for (int i = 0; i < kChains; ++i) chains[i] = fma(chains[i], factor, factor);
  }
  F32x16 total = broadcast(0.0f);
  for (int i = 0; i < kChains; ++i) total = total + chains[i];
  return sum(total);
}

float probe_reads(const float* x, int64_t count) {
  constexpr int64_t kStreams = kRegisters >= 32 ? 8 : 2;
  F32x16 total[kStreams] = {};
  const int64_t stretch = count / (kStreams * kLanes) * kLanes;
  for (int64_t i = 0; i < stretch; i += kLanes) {
#pragma GCC unroll 16
    for (int64_t s = 0; s < kStreams; ++s) total[s] = total[s] + load(x + s * stretch + i);
  }
  for (int64_t s = 1; s < kStreams; ++s) total[0] = total[0] + total[s];
  return sum(total[0]);
}

}  // namespace
}  // namespace pytransformer::kernels
