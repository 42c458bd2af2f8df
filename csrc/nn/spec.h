// The architecture of a model, as the configuration in the native file gives it.
// Names follow "Attention Is All You Need" and pytransformer/model_spec.py.
#pragma once

#include <cstdint>
#include <optional>
#include <string>

#include "kernels/kernels.h"

namespace pytransformer::nn {

enum class NormPosition { pre, post, none };
enum class PositionKind {
  none,
  sinusoidal,
  sinusoidal_interleaved,
  sinusoidal_tensor2tensor,
  learned
};
enum class DistanceKind { bias, vectors, rotary };
enum class Autoregression { self_attention, ssru, average_attention };
enum class Architecture { encoder_decoder, encoder, decoder };

struct PositionSpec {
  PositionKind kind;
  int64_t max_length;
  int64_t offset;
  int64_t segments;  // blocks of max_length rows, one for each type of token

  // How many tokens of a sentence can be told apart by their place: all, without positions.
  int64_t reach() const { return kind == PositionKind::none ? kEndless : max_length; }
  static constexpr int64_t kEndless = int64_t{1} << 24;
};

// How self-attention sees the distance of key and query.
struct DistanceSpec {
  DistanceKind kind;
  int64_t max_distance;
  double theta;

  int64_t vectors() const { return 2 * max_distance + 1; }
};

struct AverageSpec {
  int64_t num_layers;
  int64_t width;
  kernels::Activation activation;
  bool gated;
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
  kernels::Norm norm;
  bool gated;
  int64_t feed_forward_depth;
  std::optional<DistanceSpec> distances;
  Autoregression autoregression;
  std::optional<AverageSpec> average;
  int64_t vector_size;  // of what an encoder reads in place of tokens; 0 if it reads tokens

  bool has_norms() const { return norm_position != NormPosition::none; }
  bool has_distances(DistanceKind kind) const { return distances && distances->kind == kind; }

  // Widths in memory (docs/native-format.md): rows of activations, one head, all heads.
  int64_t width() const { return kernels::padded(d_model); }
  int64_t head_width() const { return kernels::padded(head_dim); }
  int64_t heads_width() const { return num_heads * head_width(); }
};

// What stands on the first row of an encoder alone: a pooler, a classifier on it, or either.
struct HeadSpec {
  int64_t pooler_size;  // 0: the classifier reads the first row itself
  kernels::Activation pooler_activation;
  int64_t labels;  // 0: no classifier
};

// The stack that an architecture lacks has no layers.
struct ModelSpec {
  Architecture architecture;
  StackSpec encoder;
  StackSpec decoder;
  bool shared_embedding;
  bool tied_output;
  std::optional<HeadSpec> head;

  bool has_encoder() const { return architecture != Architecture::decoder; }
  bool has_decoder() const { return architecture != Architecture::encoder; }
};

// Reads the `model` member of the configuration; throws io::JsonError that names what is wrong.
ModelSpec parse_model_spec(const std::string& config);

}  // namespace pytransformer::nn
