#include "nn/model.h"

#include <algorithm>
#include <map>
#include <string>
#include <utility>

#include "io/json.h"
#include "nn/positions.h"
#include "nn/weight_reader.h"
#include "simd/float_environment.h"

namespace pytransformer::nn {
namespace {

using kernels::ComputeType;
using kernels::padded;

// Weights that a tensor holds; a byte holds two of int4. Only matrices have three dimensions.
int64_t weights_of(const io::TensorView& view) {
  int64_t count = view.type == io::DataType::u8 ? 2 : 1;
  for (const int64_t extent : view.shape) count *= extent;
  return count;
}
bool is_matrix(const io::TensorView& view) { return view.shape.size() >= 3; }

// Numbers of a table of sinusoids that any model may have; larger models may have as many as they
// have weights.
constexpr int64_t kMaxTable = int64_t{1} << 24;

ModelSpec read_spec(const io::NativeFile& file) {
  const simd::DefaultFloatEnvironment environment;
  try {
    return parse_model_spec(file.config());
  } catch (const io::JsonError& error) {
    file.fail(std::string("damaged configuration: ") + error.what());
  }
}

std::string layer_name(const char* side, int64_t layer) {
  return std::string(side) + ".layers." + std::to_string(layer);
}

bool has_sinusoids(const StackSpec& spec) {
  return spec.positions.kind == PositionKind::sinusoidal ||
         spec.positions.kind == PositionKind::sinusoidal_interleaved ||
         spec.positions.kind == PositionKind::sinusoidal_tensor2tensor;
}

}  // namespace

Model::Model(std::shared_ptr<const io::NativeFile> file)
    : file_(std::move(file)), spec_(read_spec(*file_)) {
  const auto tensors = static_cast<int64_t>(file_->tensors().size());
  if (std::max(spec_.encoder.num_layers, spec_.decoder.num_layers) > tensors) {
    file_->fail("damaged configuration: more layers than tensors");
  }
  WeightReader reader(*file_);
  if (spec_.has_encoder()) read_encoder(reader);
  if (spec_.has_decoder()) read_decoder(reader);
  if (spec_.head) read_head(reader, *spec_.head);
  reader.finish();

  count_weights();
  const simd::DefaultFloatEnvironment environment;
  if (has_sinusoids(spec_.encoder)) {
    encoder_table_ = compute_positions(spec_.encoder);
    encoder_embedding_.positions = encoder_table_.data();
  }
  if (has_sinusoids(spec_.decoder)) {
    decoder_table_ = compute_positions(spec_.decoder);
    decoder_embedding_.positions = decoder_table_.data();
  }
}

std::vector<float> Model::compute_positions(const StackSpec& spec) const {
  const int64_t size = spec.positions.max_length * spec.width();
  if (size > std::max(kMaxTable, num_parameters_)) {
    file_->fail("a table of " + std::to_string(spec.positions.max_length) +
                " positions would be larger than the model");
  }
  return sinusoidal_table(spec);
}

int64_t Model::computed_bytes() const {
  return static_cast<int64_t>((encoder_table_.size() + decoder_table_.size()) * sizeof(float));
}

void Model::read_encoder(WeightReader& reader) {
  const StackSpec& spec = spec_.encoder;
  encoder_embedding_ = reader.embedding("encoder", spec_, spec);
  for (int64_t i = 0; i < spec.num_layers; ++i) {
    const std::string name = layer_name("encoder", i);
    encoder_layers_.push_back({reader.self_attention(name + ".self_attention", spec),
                               reader.feed_forward(name + ".feed_forward", spec)});
  }
  if (spec.final_norm) encoder_norm_ = reader.layer_norm("encoder.norm", spec);
}

void Model::read_decoder(WeightReader& reader) {
  const StackSpec& spec = spec_.decoder;
  decoder_embedding_ = reader.embedding("decoder", spec_, spec);
  for (int64_t i = 0; i < spec.num_layers; ++i) {
    const std::string name = layer_name("decoder", i);
    DecoderLayer layer = {};
    if (spec.autoregression == Autoregression::self_attention) {
      layer.self_attention = reader.self_attention(name + ".self_attention", spec);
    } else if (spec.autoregression == Autoregression::ssru) {
      layer.ssru = reader.ssru(name + ".ssru", spec);
    } else {
      layer.average = reader.average(name + ".average", spec);
    }
    if (spec_.has_encoder()) {
      layer.cross_attention = reader.cross_attention(name + ".cross_attention", spec);
    }
    layer.feed_forward = reader.feed_forward(name + ".feed_forward", spec);
    decoder_layers_.push_back(std::move(layer));
  }
  if (spec.final_norm) decoder_norm_ = reader.layer_norm("decoder.norm", spec);
  if (spec_.has_encoder() && spec.num_layers > 0) {
    cross_key_value_ =
        reader.linear("decoder.cross_attention.key_value", spec.num_layers * 2 * spec.heads_width(),
                      spec_.encoder.d_model);
  }
  if (spec_.tied_output) {
    output_ = {decoder_embedding_.weight, nullptr, padded(spec.vocab_size), spec.width()};
    if (file_->find("output.bias") != nullptr) {
      output_.bias = reader.tensor("output.bias", {padded(spec.vocab_size)});
    }
  } else {
    output_ = reader.linear("output", spec.vocab_size, spec.d_model);
  }
}

void Model::read_head(WeightReader& reader, const HeadSpec& spec) {
  const int64_t inputs = spec_.encoder.d_model;
  if (spec.pooler_size > 0) head_.pooler = reader.linear("pooler", spec.pooler_size, inputs);
  if (spec.labels > 0) {
    const int64_t read = spec.pooler_size > 0 ? spec.pooler_size : inputs;
    head_.classifier = reader.linear("classifier", spec.labels, read);
  }
}

void Model::count_weights() {
  std::map<ComputeType, int64_t> by_type;
  for (const auto& [name, view] : file_->tensors()) {
    if (name.starts_with("file.") || name.ends_with(".scales")) continue;
    num_parameters_ += weights_of(view);
    if (is_matrix(view)) by_type[type_of(view)] += weights_of(view);
  }
  int64_t most = 0;
  for (const auto& [type, weights] : by_type) {
    if (weights > most) compute_type_ = type;
    most = std::max(most, weights);
  }
}

}  // namespace pytransformer::nn
