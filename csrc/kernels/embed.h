// Rows of an embedding that is packed like the output layer's weight (they are often the same).
#pragma once

#include "kernels/formats.h"

namespace pytransformer::kernels {
namespace {

// Element (output j of its panel, i) of a panel.
inline float element(const Panels& panel, int64_t j, int64_t i) {
  switch (panel.type) {
    case ComputeType::float32: {
      float value;
      __builtin_memcpy(&value, panel.data + (i * kLanes + j) * 4, sizeof value);
      return value;
    }
    case ComputeType::bfloat16: {
      uint16_t half;
      __builtin_memcpy(&half, panel.data + (i / 2 * kLanes + j) * 4 + i % 2 * 2, sizeof half);
      return __builtin_bit_cast(float, static_cast<uint32_t>(half) << 16);
    }
    case ComputeType::int8: {
      const auto value = static_cast<int8_t>(panel.data[(i / 4 * kLanes + j) * 4 + i % 4]);
      return static_cast<float>(value) * reinterpret_cast<const float*>(panel.scales)[j];
    }
    case ComputeType::int4: {
      const auto byte = static_cast<uint8_t>(panel.data[(i / 8 * kLanes + j) * 4 + i % 4]);
      const int value = (i % 8 < 4 ? byte & 0x0f : byte >> 4) - Int4::kOffset;
      uint16_t scale;
      __builtin_memcpy(&scale, panel.scales + (i / kGroupSize * kLanes + j) * 2, sizeof scale);
      return static_cast<float>(value) *
             __builtin_bit_cast(float, static_cast<uint32_t>(scale) << 16);
    }
  }
  return 0.0f;
}

void embed(const EmbedArgs& args) {
  for (int64_t r = 0; r < args.rows; ++r) {
    const bool is_token = args.ids[r] >= 0;
    const int64_t id = is_token ? args.ids[r] : 0;
    const Panels panel = args.embedding.from(id / kLanes);
    const float* const position =
        args.table == nullptr ? nullptr : args.table + args.positions[r] * args.k;
    float* const y = args.y + r * args.ldy;
    for (int64_t i = 0; i < args.k; ++i) {
      const float scaled = is_token ? args.scale * element(panel, id % kLanes, i) : 0.0f;
      y[i] = position == nullptr ? scaled : scaled + position[i];
    }
  }
}

}  // namespace
}  // namespace pytransformer::kernels
