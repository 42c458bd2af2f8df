#include "nn/spec.h"

#include <array>
#include <string_view>
#include <utility>

#include "io/json.h"

namespace pytransformer::nn {
namespace {

using io::Json;
using io::JsonError;

// Far above any real model, and small enough that no product of two sizes overflows.
constexpr int64_t kMaxSize = int64_t{1} << 28;
// A table of positions is computed for this many tokens at most.
constexpr int64_t kMaxPositions = int64_t{1} << 16;

template <typename Enum, size_t n>
Enum parse_name(const Json& parent, std::string_view key,
                const std::array<std::pair<std::string_view, Enum>, n>& names) {
  const std::string& text = parent.at(key).as_string(key);
  for (const auto& [name, value] : names) {
    if (name == text) return value;
  }
  throw JsonError("unknown " + std::string(key) + " '" + text + "'");
}

int64_t parse_size(const Json& parent, std::string_view key, int64_t least,
                   int64_t most = kMaxSize) {
  const int64_t size = parent.at(key).as_size(key);
  if (size < least || size > most) {
    throw JsonError(std::string(key) + " = " + std::to_string(size) + " is out of range");
  }
  return size;
}

float parse_float(const Json& parent, std::string_view key) {
  return static_cast<float>(parent.at(key).as_number(key));
}

PositionSpec parse_positions(const Json& json) {
  constexpr std::array<std::pair<std::string_view, PositionKind>, 4> kKinds = {{
      {"none", PositionKind::none},
      {"sinusoidal", PositionKind::sinusoidal},
      {"sinusoidal_interleaved", PositionKind::sinusoidal_interleaved},
      {"learned", PositionKind::learned},
  }};
  return {parse_name(json, "kind", kKinds), parse_size(json, "max_length", 1, kMaxPositions),
          parse_size(json, "offset", 0, kMaxPositions)};
}

StackSpec parse_stack(const Json& json) {
  using kernels::Activation;
  constexpr std::array<std::pair<std::string_view, Activation>, 4> kActivations = {{
      {"relu", Activation::relu},
      {"gelu", Activation::gelu},
      {"gelu_tanh", Activation::gelu_tanh},
      {"silu", Activation::silu},
  }};
  constexpr std::array<std::pair<std::string_view, NormPosition>, 2> kNormPositions = {{
      {"pre", NormPosition::pre},
      {"post", NormPosition::post},
  }};
  StackSpec spec = {};
  spec.num_layers = parse_size(json, "num_layers", 0);
  spec.d_model = parse_size(json, "d_model", 1);
  spec.num_heads = parse_size(json, "num_heads", 1);
  spec.head_dim = parse_size(json, "head_dim", 1);
  spec.d_ff = parse_size(json, "d_ff", 1);
  spec.vocab_size = parse_size(json, "vocab_size", 1);
  spec.activation = parse_name(json, "activation", kActivations);
  spec.norm_position = parse_name(json, "norm_position", kNormPositions);
  spec.final_norm = json.at("final_norm").as_bool("final_norm");
  spec.embedding_norm = json.at("embedding_norm").as_bool("embedding_norm");
  spec.embedding_scale = parse_float(json, "embedding_scale");
  spec.attention_scale = parse_float(json, "attention_scale");
  spec.norm_epsilon = parse_float(json, "norm_epsilon");
  spec.positions = parse_positions(json.at("positions"));
  return spec;
}

}  // namespace

ModelSpec parse_model_spec(const std::string& config) {
  const Json root = Json::parse(config);
  const Json& model = root.at("model");
  const std::string& architecture = model.at("architecture").as_string("architecture");
  if (architecture != "encoder_decoder") {
    throw JsonError("unknown architecture '" + architecture + "'");
  }
  ModelSpec spec = {parse_stack(model.at("encoder")), parse_stack(model.at("decoder")),
                    model.at("shared_embedding").as_bool("shared_embedding"),
                    model.at("tied_output").as_bool("tied_output")};
  if (spec.shared_embedding && (spec.encoder.vocab_size != spec.decoder.vocab_size ||
                                spec.encoder.d_model != spec.decoder.d_model)) {
    throw JsonError("a shared embedding needs the same vocab_size and d_model on both sides");
  }
  return spec;
}

}  // namespace pytransformer::nn
