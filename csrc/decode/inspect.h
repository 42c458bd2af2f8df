// What the model computes on the way, for one sentence: logits under a given target and attention.
// By the same layers and cache as a search, on the caller's thread, but within the engine's memory.
#pragma once

#include <cstdint>
#include <vector>

#include "decode/engine.h"

namespace pytransformer::decode {

// Logits [target, vocab_size] that follow each token of `target` (start token included).
std::vector<float> forced_logits(Engine& engine, const std::vector<int32_t>& source,
                                 const std::vector<int32_t>& target);

// Attention weights of all layers and heads under a given target (start token included).
struct Attention {
  std::vector<float> encoder;  // [layers, heads, source, source]
  std::vector<float> decoder;  // [layers, heads, target, target], 0 for tokens that come later
  std::vector<float> cross;    // [layers, heads, target, source]
};
Attention forced_attention(Engine& engine, const std::vector<int32_t>& source,
                           const std::vector<int32_t>& target);

}  // namespace pytransformer::decode
