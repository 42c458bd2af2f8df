// Rows of an embedding that is packed like the output layer's weight (they are often the same).
#pragma once

#include "kernels/kernels.h"

namespace pytransformer::kernels {
namespace {

void embed(const EmbedArgs& args) {
  for (int64_t r = 0; r < args.rows; ++r) {
    const int64_t id = args.ids[r];
    const float* row =
        args.embedding.data + id / kLanes * args.embedding.panel_stride + id % kLanes;
    const float* position =
        args.table == nullptr ? nullptr : args.table + args.positions[r] * args.k;
    float* y = args.y + r * args.ldy;
    for (int64_t i = 0; i < args.k; ++i) {
      const float scaled = args.scale * row[i * args.embedding.k_stride];
      y[i] = position == nullptr ? scaled : scaled + position[i];
    }
  }
}

}  // namespace
}  // namespace pytransformer::kernels
