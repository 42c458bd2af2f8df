// The architecture of a model, as the configuration in the native file gives it.
// Names follow "Attention Is All You Need" and pytransformer/model_spec.py.
#pragma once

#include <cstdint>
#include <string>

#include "kernels/kernels.h"

namespace pytransformer::nn {

enum class NormPosition { pre, post };
enum class PositionKind { none, sinusoidal, sinusoidal_interleaved, learned };

struct PositionSpec {
  PositionKind kind;
  int64_t max_length;
  int64_t offset;

  // How many tokens of a sentence can be told apart by their place: all, without positions.
  int64_t reach() const { return kind == PositionKind::none ? kEndless : max_length; }
  static constexpr int64_t kEndless = int64_t{1} << 24;
};

struct StackSpec {
  int64_t num_layers;
  int64_t d_model;
  int64_t num_heads;
  int64_t head_dim;
  int64_t d_ff;
  int64_t vocab_size;
  kernels::Activation activation;
  NormPosition norm_position;
  bool final_norm;
  bool embedding_norm;
  float embedding_scale;
  float attention_scale;
  float norm_epsilon;
  PositionSpec positions;

  // Widths in memory (docs/native-format.md): rows of activations, one head, all heads.
  int64_t width() const { return kernels::padded(d_model); }
  int64_t head_width() const { return kernels::padded(head_dim); }
  int64_t heads_width() const { return num_heads * head_width(); }
};

struct ModelSpec {
  StackSpec encoder;
  StackSpec decoder;
  bool shared_embedding;
  bool tied_output;
};

// Reads the `model` member of the configuration; throws io::JsonError that names what is wrong.
ModelSpec parse_model_spec(const std::string& config);

}  // namespace pytransformer::nn
