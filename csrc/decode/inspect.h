// What the model computes on the way, for one sentence: encoder states, and logits under a given
// target. By the same layers and cache as a search, one token at a time, on the caller's thread.
#pragma once

#include <cstdint>
#include <vector>

#include "nn/model.h"
#include "simd/isa.h"

namespace pytransformer::decode {

// States [source, d_model] of the encoder.
std::vector<float> encoder_states(const nn::Model& model, simd::Isa isa,
                                  const std::vector<int32_t>& source);

// Logits [target, vocab_size] that follow each token of `target` (start token included).
std::vector<float> forced_logits(const nn::Model& model, simd::Isa isa,
                                 const std::vector<int32_t>& source,
                                 const std::vector<int32_t>& target);

}  // namespace pytransformer::decode
