#include "nn/weight_reader.h"

namespace pytransformer::nn {
namespace {

using kernels::ComputeType;
using kernels::kLanes;
using kernels::kLineBytes;
using kernels::padded;

// Sums of so many products of int8 (one of them shifted to 0 … 255) stay below 2^31.
constexpr int64_t kMaxIntegerInputs = 65536;

bool is_integer(ComputeType type) { return type == ComputeType::int8 || type == ComputeType::int4; }

}  // namespace

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

const float* WeightReader::tensor(const std::string& name, const std::vector<int64_t>& shape) {
  return reinterpret_cast<const float*>(bytes(name, io::DataType::f32, shape));
}

const std::byte* WeightReader::bytes(const std::string& name, io::DataType type,
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

kernels::Panels WeightReader::matrix(const std::string& name, int64_t outputs, int64_t inputs) {
  const int64_t panels = padded(outputs) / kLanes;
  const int64_t k = padded(inputs);
  const int64_t groups = kernels::groups_of(k);
  const io::TensorView* const view = file_.find(name);
  const ComputeType type = view == nullptr ? ComputeType::float32 : type_of(*view);
  if (is_integer(type) && k > kMaxIntegerInputs) faults_ += "\n  too wide: " + name;
  switch (type) {
    case ComputeType::bfloat16:
      return {type, bytes(name, io::DataType::bf16, {panels, k / 2, kLanes, 2}), k / 2 * kLineBytes,
              nullptr, 0};
    case ComputeType::int8:
      return {type, bytes(name, io::DataType::i8, {panels, k / 4, kLanes, 4}), k / 4 * kLineBytes,
              bytes(name + ".scales", io::DataType::f32, {panels * kLanes}), kLineBytes};
    case ComputeType::int4: {
      const int64_t stored = (groups + 1) / 2 * 2;
      return {type, bytes(name, io::DataType::u8, {panels, groups, 4, kLanes, 4}),
              groups * 4 * kLineBytes,
              bytes(name + ".scales", io::DataType::bf16, {panels, stored, kLanes}),
              stored * kLineBytes / 2};
    }
    default:
      return {type, bytes(name, io::DataType::f32, {panels, k, kLanes}), k * kLineBytes, nullptr,
              0};
  }
}

Linear WeightReader::linear(const std::string& name, int64_t outputs, int64_t inputs) {
  Linear result = {matrix(name + ".weight", outputs, inputs), nullptr, padded(outputs),
                   padded(inputs)};
  if (has(name + ".bias")) result.bias = tensor(name + ".bias", {padded(outputs)});
  return result;
}

Linear WeightReader::optional_linear(const std::string& name, int64_t outputs, int64_t inputs) {
  return has(name + ".weight") ? linear(name, outputs, inputs) : Linear{};
}

LayerNorm WeightReader::layer_norm(const std::string& name, const StackSpec& spec) {
  return {tensor(name + ".weight", {spec.width()}), tensor(name + ".bias", {spec.width()})};
}

LayerNorm WeightReader::layers_norm(const std::string& name, const StackSpec& spec) {
  return spec.has_norms() ? layer_norm(name + ".norm", spec) : LayerNorm{};
}

Distances WeightReader::distances(const std::string& name, const StackSpec& spec) {
  Distances result = {};
  if (spec.has_distances(DistanceKind::bias)) {
    result.bias = tensor(name + ".bias", {spec.num_heads, padded(spec.distances->vectors())});
  }
  if (spec.has_distances(DistanceKind::vectors)) {
    const std::vector<int64_t> shape = {spec.distances->vectors(), spec.head_width()};
    result.keys = tensor(name + ".keys", shape);
    result.values = tensor(name + ".values", shape);
  }
  return result;
}

SelfAttention WeightReader::self_attention(const std::string& name, const StackSpec& spec) {
  return {linear(name + ".qkv", 3 * spec.heads_width(), spec.d_model),
          linear(name + ".output", spec.d_model, spec.heads_width()), layers_norm(name, spec),
          distances(name + ".distances", spec)};
}

CrossAttention WeightReader::cross_attention(const std::string& name, const StackSpec& spec) {
  return {linear(name + ".query", spec.heads_width(), spec.d_model),
          linear(name + ".output", spec.d_model, spec.heads_width()), layers_norm(name, spec)};
}

Ssru WeightReader::ssru(const std::string& name, const StackSpec& spec) {
  return {linear(name + ".input_forget", 2 * spec.width(), spec.d_model),
          optional_linear(name + ".output", spec.d_model, spec.d_model), layers_norm(name, spec)};
}

AverageAttention WeightReader::average(const std::string& name, const StackSpec& spec) {
  AverageAttention result = {};
  const AverageSpec& average = *spec.average;
  for (int64_t i = 0; i < average.num_layers; ++i) {
    const int64_t inputs = i == 0 ? spec.d_model : average.width;
    const int64_t outputs = i + 1 == average.num_layers ? spec.d_model : average.width;
    result.layers.push_back(linear(name + ".layers." + std::to_string(i), outputs, inputs));
  }
  if (average.gated) {
    result.input_gate = linear(name + ".input_gate", spec.d_model, spec.d_model);
    result.forget_gate = linear(name + ".forget_gate", spec.d_model, spec.d_model);
  }
  result.norm = layers_norm(name, spec);
  return result;
}

FeedForward WeightReader::feed_forward(const std::string& name, const StackSpec& spec) {
  FeedForward result = {};
  result.up = linear(name + ".up", spec.d_ff, spec.d_model);
  if (spec.gated) {
    result.gate = linear(name + ".gate", spec.d_ff, spec.d_model);
    // Both read the same converted activations.
    if (result.gate.weight.type != result.up.weight.type) {
      faults_ += "\n  not of the type of its fellow: " + name + ".gate.weight";
    }
  }
  for (int64_t i = 2; i < spec.feed_forward_depth; ++i) {
    result.middle.push_back(
        linear(name + ".middle." + std::to_string(i - 2), spec.d_ff, spec.d_ff));
  }
  result.down = linear(name + ".down", spec.d_model, spec.d_ff);
  result.norm = layers_norm(name, spec);
  return result;
}

Embedding WeightReader::embedding(const std::string& side, const ModelSpec& model,
                                  const StackSpec& spec) {
  Embedding result = {};
  if (spec.vector_size > 0) {
    result.vectors = linear(side + ".vectors", spec.d_model, spec.vector_size);
  } else {
    const std::string name = model.shared_embedding ? "shared" : side;
    result.weight = matrix(name + ".embedding.weight", spec.vocab_size, spec.d_model);
  }
  if (spec.embedding_norm) result.norm = layer_norm(side + ".embedding.norm", spec);
  if (spec.positions.kind == PositionKind::learned) {
    const PositionSpec& positions = spec.positions;
    const int64_t rows = positions.max_length * positions.segments + positions.offset;
    const float* const table = tensor(side + ".positions.weight", {rows, spec.width()});
    if (table != nullptr) result.positions = table + positions.offset * spec.width();
  }
  return result;
}

void WeightReader::finish() {
  for (const auto& [name, view] : file_.tensors()) {
    if (!used_.contains(name) && !name.starts_with("file.")) faults_ += "\n  left over: " + name;
  }
  if (!faults_.empty()) file_.fail("tensors do not fit the configuration:" + faults_);
}

}  // namespace pytransformer::nn
