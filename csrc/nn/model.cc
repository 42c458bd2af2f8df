#include "nn/model.h"

#include <algorithm>
#include <map>
#include <set>
#include <string>
#include <utility>

#include "io/json.h"
#include "nn/positions.h"

namespace pytransformer::nn {
namespace {

using kernels::ComputeType;
using kernels::kLanes;
using kernels::kLineBytes;
using kernels::padded;

// Sums of so many products of int8 (one of them shifted to 0 … 255) stay below 2^31.
constexpr int64_t kMaxIntegerInputs = 65536;

bool is_integer(ComputeType type) { return type == ComputeType::int8 || type == ComputeType::int4; }

ComputeType type_of(const io::TensorView& matrix) {
  switch (matrix.type) {
    case io::DataType::bf16:
      return ComputeType::bfloat16;
    case io::DataType::i8:
      return ComputeType::int8;
    case io::DataType::u8:
      return ComputeType::int4;
    default:
      return ComputeType::float32;
  }
}

// Weights that a tensor holds; a byte holds two of int4. Only matrices have three dimensions.
int64_t weights_of(const io::TensorView& view) {
  int64_t count = view.type == io::DataType::u8 ? 2 : 1;
  for (const int64_t extent : view.shape) count *= extent;
  return count;
}
bool is_matrix(const io::TensorView& view) { return view.shape.size() >= 3; }

ModelSpec read_spec(const io::NativeFile& file) {
  try {
    return parse_model_spec(file.config());
  } catch (const io::JsonError& error) {
    file.fail(std::string("damaged configuration: ") + error.what());
  }
}

// Finds tensors by name and gathers everything that is wrong, to be raised as one error.
class WeightReader {
 public:
  explicit WeightReader(const io::NativeFile& file) : file_(file) {}

  const float* tensor(const std::string& name, const std::vector<int64_t>& shape) {
    return reinterpret_cast<const float*>(bytes(name, io::DataType::f32, shape));
  }

  // Null, and a fault, unless there is such a tensor.
  const std::byte* bytes(const std::string& name, io::DataType type,
                         const std::vector<int64_t>& shape) {
    const io::TensorView* const view = file_.find(name);
    if (view == nullptr) {
      faults_ += "\n  missing: " + name;
      return nullptr;
    }
    used_.insert(name);
    if (view->type != type || view->shape != shape) {
      faults_ += "\n  wrong shape or type: " + name;
      return nullptr;
    }
    return view->content.data();
  }

  // A matrix in any of the number formats; the type of its tensor says which.
  kernels::Panels matrix(const std::string& name, int64_t outputs, int64_t inputs) {
    const int64_t panels = padded(outputs) / kLanes;
    const int64_t groups = kernels::groups_of(inputs);
    const io::TensorView* const view = file_.find(name);
    const ComputeType type = view == nullptr ? ComputeType::float32 : type_of(*view);
    if (is_integer(type) && inputs > kMaxIntegerInputs) faults_ += "\n  too wide: " + name;
    switch (type) {
      case ComputeType::bfloat16:
        return {type, bytes(name, io::DataType::bf16, {panels, inputs / 2, kLanes, 2}),
                inputs / 2 * kLineBytes, nullptr, 0};
      case ComputeType::int8:
        return {type, bytes(name, io::DataType::i8, {panels, inputs / 4, kLanes, 4}),
                inputs / 4 * kLineBytes,
                bytes(name + ".scales", io::DataType::f32, {panels * kLanes}), kLineBytes};
      case ComputeType::int4: {
        const int64_t stored = (groups + 1) / 2 * 2;
        return {type, bytes(name, io::DataType::u8, {panels, groups, 4, kLanes, 4}),
                groups * 4 * kLineBytes,
                bytes(name + ".scales", io::DataType::bf16, {panels, stored, kLanes}),
                stored * kLineBytes / 2};
      }
      default:
        return {type, bytes(name, io::DataType::f32, {panels, inputs, kLanes}), inputs * kLineBytes,
                nullptr, 0};
    }
  }

  // `outputs` and `inputs` are sizes in memory or are padded here.
  Linear linear(const std::string& name, int64_t outputs, int64_t inputs) {
    Linear result = {matrix(name + ".weight", outputs, inputs), nullptr, padded(outputs), inputs};
    if (file_.find(name + ".bias") != nullptr) {
      result.bias = tensor(name + ".bias", {padded(outputs)});
    }
    return result;
  }

  LayerNorm layer_norm(const std::string& name, const StackSpec& spec) {
    return {tensor(name + ".weight", {spec.width()}), tensor(name + ".bias", {spec.width()})};
  }

  SelfAttention self_attention(const std::string& name, const StackSpec& spec) {
    return {linear(name + ".qkv", 3 * spec.heads_width(), spec.width()),
            linear(name + ".output", spec.d_model, spec.heads_width()),
            layer_norm(name + ".norm", spec)};
  }

  CrossAttention cross_attention(const std::string& name, const StackSpec& spec) {
    return {linear(name + ".query", spec.heads_width(), spec.width()),
            linear(name + ".output", spec.d_model, spec.heads_width()),
            layer_norm(name + ".norm", spec)};
  }

  FeedForward feed_forward(const std::string& name, const StackSpec& spec) {
    return {linear(name + ".up", spec.d_ff, spec.width()),
            linear(name + ".down", spec.d_model, padded(spec.d_ff)),
            layer_norm(name + ".norm", spec)};
  }

  Embedding embedding(const std::string& side, const ModelSpec& model, const StackSpec& spec) {
    const std::string name = model.shared_embedding ? "shared" : side;
    Embedding result = {};
    result.weight = matrix(name + ".embedding.weight", spec.vocab_size, spec.width());
    if (spec.embedding_norm) result.norm = layer_norm(side + ".embedding.norm", spec);
    if (spec.positions.kind == PositionKind::learned) {
      const int64_t rows = spec.positions.max_length + spec.positions.offset;
      const float* const table = tensor(side + ".positions.weight", {rows, spec.width()});
      if (table != nullptr) result.positions = table + spec.positions.offset * spec.width();
    }
    return result;
  }

  void finish() {
    for (const auto& [name, view] : file_.tensors()) {
      if (!used_.contains(name) && !name.starts_with("file.")) faults_ += "\n  left over: " + name;
    }
    if (!faults_.empty()) file_.fail("tensors do not fit the configuration:" + faults_);
  }

 private:
  const io::NativeFile& file_;
  std::set<std::string, std::less<>> used_;
  std::string faults_;
};

std::string layer_name(const char* side, int64_t layer) {
  return std::string(side) + ".layers." + std::to_string(layer);
}

bool has_sinusoids(const StackSpec& spec) {
  return spec.positions.kind == PositionKind::sinusoidal ||
         spec.positions.kind == PositionKind::sinusoidal_interleaved;
}

}  // namespace

Model::Model(std::shared_ptr<const io::NativeFile> file)
    : file_(std::move(file)), spec_(read_spec(*file_)) {
  const StackSpec& encoder = spec_.encoder;
  const StackSpec& decoder = spec_.decoder;
  const auto tensors = static_cast<int64_t>(file_->tensors().size());
  if (std::max(encoder.num_layers, decoder.num_layers) > tensors) {
    file_->fail("damaged configuration: more layers than tensors");
  }
  WeightReader reader(*file_);
  encoder_embedding_ = reader.embedding("encoder", spec_, encoder);
  decoder_embedding_ = reader.embedding("decoder", spec_, decoder);
  for (int64_t i = 0; i < encoder.num_layers; ++i) {
    const std::string name = layer_name("encoder", i);
    encoder_layers_.push_back({reader.self_attention(name + ".self_attention", encoder),
                               reader.feed_forward(name + ".feed_forward", encoder)});
  }
  for (int64_t i = 0; i < decoder.num_layers; ++i) {
    const std::string name = layer_name("decoder", i);
    decoder_layers_.push_back({reader.self_attention(name + ".self_attention", decoder),
                               reader.cross_attention(name + ".cross_attention", decoder),
                               reader.feed_forward(name + ".feed_forward", decoder)});
  }
  if (encoder.final_norm) encoder_norm_ = reader.layer_norm("encoder.norm", encoder);
  if (decoder.final_norm) decoder_norm_ = reader.layer_norm("decoder.norm", decoder);
  if (decoder.num_layers > 0) {
    cross_key_value_ =
        reader.linear("decoder.cross_attention.key_value",
                      decoder.num_layers * 2 * decoder.heads_width(), encoder.width());
  }
  if (spec_.tied_output) {
    output_ = {decoder_embedding_.weight, nullptr, padded(decoder.vocab_size), decoder.width()};
    if (file_->find("output.bias") != nullptr) {
      output_.bias = reader.tensor("output.bias", {padded(decoder.vocab_size)});
    }
  } else {
    output_ = reader.linear("output", decoder.vocab_size, decoder.width());
  }
  reader.finish();

  count_weights();
  if (has_sinusoids(encoder)) {
    encoder_table_ = sinusoidal_table(encoder);
    encoder_embedding_.positions = encoder_table_.data();
  }
  if (has_sinusoids(decoder)) {
    decoder_table_ = sinusoidal_table(decoder);
    decoder_embedding_.positions = decoder_table_.data();
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
