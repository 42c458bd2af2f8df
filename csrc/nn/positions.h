// Sinusoidal positional encoding ("Attention Is All You Need", section 3.5).
#pragma once

#include <vector>

#include "nn/spec.h"

namespace pytransformer::nn {

// The table [max_length, width] whose row 0 belongs to the first token; zero in the padding.
std::vector<float> sinusoidal_table(const StackSpec& spec);

}  // namespace pytransformer::nn
