// The weights of one model: views into the native file, found by name and checked once.
// Immutable; shared by all workers.
#pragma once

#include <memory>
#include <vector>

#include "io/native_file.h"
#include "kernels/kernels.h"
#include "nn/spec.h"

namespace pytransformer::nn {

// y = W x + b; W [outputs, inputs] in panels, both sizes padded.
struct Linear {
  kernels::Panels weight;
  const float* bias;  // [outputs] or null
  int64_t outputs;
  int64_t inputs;

  int64_t panels() const { return outputs / kernels::kLanes; }
  bool exists() const { return weight.data != nullptr; }
};

struct LayerNorm {
  const float* weight;  // [padded(d_model)]
  const float* bias;
};

// What belongs to the distance of key and query; null pointers for what the model has not.
struct Distances {
  const float* bias;  // [num_heads, padded(2 max_distance + 1)]
  const float* keys;  // [2 max_distance + 1, head_width]
  const float* values;
};

struct SelfAttention {
  Linear qkv;  // query, key and value, each [heads_width], one behind another
  Linear output;
  LayerNorm norm;
  Distances distances;
};

// The simpler simple recurrent unit, in the place of self-attention.
struct Ssru {
  Linear input_forget;  // both [width], one behind another
  Linear output;        // without weights if there is none
  LayerNorm norm;
};

// Average attention, in the place of self-attention.
struct AverageAttention {
  std::vector<Linear> layers;
  Linear input_gate;  // without weights if there is none
  Linear forget_gate;
  LayerNorm norm;
};

struct CrossAttention {
  Linear query;
  Linear output;
  LayerNorm norm;
};

struct FeedForward {
  Linear up;
  Linear gate;  // without weights unless gated
  std::vector<Linear> middle;
  Linear down;
  LayerNorm norm;
};

struct Embedding {
  kernels::Panels weight;  // [vocab_size, d_model]
  Linear vectors;          // in its place where the encoder reads vectors
  LayerNorm norm;          // null pointers unless embedding_norm
  const float* positions;  // [max_length, width], row 0 is the first token's; null if none
};

// What stands on an encoder alone; layers without weights where there is none.
struct Head {
  Linear pooler;
  Linear classifier;
};

struct EncoderLayer {
  SelfAttention self_attention;
  FeedForward feed_forward;
};

// Of the first three, the one that the stack's `autoregression` names.
struct DecoderLayer {
  SelfAttention self_attention;
  Ssru ssru;
  AverageAttention average;
  CrossAttention cross_attention;
  FeedForward feed_forward;
};

class WeightReader;

class Model {
 public:
  // Throws io::FormatError that lists every tensor missing, left over or of a wrong shape.
  explicit Model(std::shared_ptr<const io::NativeFile> file);

  const ModelSpec& spec() const { return spec_; }
  const io::NativeFile& file() const { return *file_; }
  // Weights, those that pad rows to whole panels included.
  int64_t num_parameters() const { return num_parameters_; }
  // Memory that it takes besides the file: tables of positions that are computed.
  int64_t computed_bytes() const;
  // What most of the matrices' weights are stored in.
  kernels::ComputeType compute_type() const { return compute_type_; }

  const Embedding& encoder_embedding() const { return encoder_embedding_; }
  const Embedding& decoder_embedding() const { return decoder_embedding_; }
  const std::vector<EncoderLayer>& encoder_layers() const { return encoder_layers_; }
  const DecoderLayer& decoder_layer(int64_t i) const {
    return decoder_layers_[static_cast<size_t>(i)];
  }
  const LayerNorm& encoder_norm() const { return encoder_norm_; }  // null unless final_norm
  const LayerNorm& decoder_norm() const { return decoder_norm_; }
  const Head& head() const { return head_; }
  // Keys and values of all decoder layers from the encoder's states, layer by layer.
  const Linear& cross_key_value() const { return cross_key_value_; }
  const Linear& output() const { return output_; }

 private:
  void read_encoder(WeightReader& reader);
  void read_decoder(WeightReader& reader);
  void read_head(WeightReader& reader, const HeadSpec& spec);
  void count_weights();
  // A table of sinusoids; throws FormatError if it would be out of all proportion.
  std::vector<float> compute_positions(const StackSpec& spec) const;

  std::shared_ptr<const io::NativeFile> file_;
  ModelSpec spec_;
  int64_t num_parameters_ = 0;
  kernels::ComputeType compute_type_ = kernels::ComputeType::float32;
  Embedding encoder_embedding_ = {};
  Embedding decoder_embedding_ = {};
  std::vector<EncoderLayer> encoder_layers_;
  std::vector<DecoderLayer> decoder_layers_;
  LayerNorm encoder_norm_ = {};
  LayerNorm decoder_norm_ = {};
  Head head_ = {};
  Linear cross_key_value_ = {};
  Linear output_ = {};
  std::vector<float> encoder_table_;  // sinusoids; empty for learned or no positions
  std::vector<float> decoder_table_;
};

}  // namespace pytransformer::nn
