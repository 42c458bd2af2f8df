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
// The furthest distance that vectors or biases belong to.
constexpr int64_t kMaxDistance = int64_t{1} << 16;
constexpr int64_t kMaxSegments = 256;
// Linear layers of a feed-forward layer, and of an average attention.
constexpr int64_t kMaxDepth = 16;
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
  constexpr std::array<std::pair<std::string_view, PositionKind>, 5> kKinds = {{
      {"none", PositionKind::none},
      {"sinusoidal", PositionKind::sinusoidal},
      {"sinusoidal_interleaved", PositionKind::sinusoidal_interleaved},
      {"sinusoidal_tensor2tensor", PositionKind::sinusoidal_tensor2tensor},
      {"learned", PositionKind::learned},
  }};
  return {parse_name(json, "kind", kKinds), parse_size(json, "max_length", 1, kMaxPositions),
          parse_size(json, "offset", 0, kMaxPositions),
          json.find("segments") == nullptr ? 1 : parse_size(json, "segments", 1, kMaxSegments)};
}

kernels::Activation parse_activation(const Json& json, std::string_view key) {
  using kernels::Activation;
  constexpr std::array<std::pair<std::string_view, Activation>, 6> kActivations = {{
      {"relu", Activation::relu},
      {"gelu", Activation::gelu},
      {"gelu_tanh", Activation::gelu_tanh},
      {"gelu_sigmoid", Activation::gelu_sigmoid},
      {"silu", Activation::silu},
      {"tanh", Activation::tanh},
  }};
  return parse_name(json, key, kActivations);
}

DistanceSpec parse_distances(const Json& json) {
  constexpr std::array<std::pair<std::string_view, DistanceKind>, 3> kKinds = {{
      {"bias", DistanceKind::bias},
      {"vectors", DistanceKind::vectors},
      {"rotary", DistanceKind::rotary},
  }};
  return {parse_name(json, "kind", kKinds), parse_size(json, "max_distance", 0, kMaxDistance),
          json.at("theta").as_number("theta")};
}

AverageSpec parse_average(const Json& json) {
  return {parse_size(json, "num_layers", 0, kMaxDepth), parse_size(json, "width", 1),
          parse_activation(json, "activation"), json.at("gated").as_bool("gated")};
}

// What stacks may lack that were written before it existed.
void parse_later_fields(const Json& json, StackSpec& spec) {
  constexpr std::array<std::pair<std::string_view, kernels::Norm>, 3> kNorms = {{
      {"layer", kernels::Norm::layer},
      {"rms", kernels::Norm::rms},
      {"deviation", kernels::Norm::deviation},
  }};
  constexpr std::array<std::pair<std::string_view, Autoregression>, 3> kAutoregressions = {{
      {"self_attention", Autoregression::self_attention},
      {"ssru", Autoregression::ssru},
      {"average_attention", Autoregression::average_attention},
  }};
  const auto has = [&](std::string_view key) { return json.find(key) != nullptr; };
  if (has("vector_size")) spec.vector_size = parse_size(json, "vector_size", 0);
  if (has("norm")) spec.norm = parse_name(json, "norm", kNorms);
  if (has("gated")) spec.gated = json.at("gated").as_bool("gated");
  spec.feed_forward_depth = 2;
  if (has("feed_forward_depth")) {
    spec.feed_forward_depth = parse_size(json, "feed_forward_depth", 2, kMaxDepth);
  }
  if (has("distances")) spec.distances = parse_distances(json.at("distances"));
  if (has("autoregression")) {
    spec.autoregression = parse_name(json, "autoregression", kAutoregressions);
  }
  if (has("average")) spec.average = parse_average(json.at("average"));
  const bool averages = spec.autoregression == Autoregression::average_attention;
  if (averages != spec.average.has_value()) {
    throw JsonError("average belongs to a decoder with average_attention, and to no other");
  }
  if (spec.distances && spec.autoregression != Autoregression::self_attention) {
    throw JsonError("distances belong to self-attention");
  }
  if (spec.has_distances(DistanceKind::rotary) && spec.head_dim % 2 != 0) {
    throw JsonError("rotary distances need an even head_dim");
  }
}

StackSpec parse_stack(const Json& json) {
  constexpr std::array<std::pair<std::string_view, NormPosition>, 3> kNormPositions = {{
      {"pre", NormPosition::pre},
      {"post", NormPosition::post},
      {"none", NormPosition::none},
  }};
  StackSpec spec = {};
  spec.num_layers = parse_size(json, "num_layers", 0);
  spec.d_model = parse_size(json, "d_model", 1);
  spec.num_heads = parse_size(json, "num_heads", 1);
  spec.head_dim = parse_size(json, "head_dim", 1);
  if (spec.heads_width() > kMaxSize) throw JsonError("num_heads * head_dim is out of range");
  spec.d_ff = parse_size(json, "d_ff", 1);
  spec.vocab_size = parse_size(json, "vocab_size", 1);
  spec.activation = parse_activation(json, "activation");
  spec.norm_position = parse_name(json, "norm_position", kNormPositions);
  spec.final_norm = json.at("final_norm").as_bool("final_norm");
  spec.embedding_norm = json.at("embedding_norm").as_bool("embedding_norm");
  spec.embedding_scale = parse_float(json, "embedding_scale");
  spec.attention_scale = parse_float(json, "attention_scale");
  spec.norm_epsilon = parse_float(json, "norm_epsilon");
  spec.positions = parse_positions(json.at("positions"));
  parse_later_fields(json, spec);
  return spec;
}

HeadSpec parse_head(const Json& json) {
  const Json::Array& labels = json.at("labels").as_array("labels");
  return {parse_size(json, "pooler_size", 0), parse_activation(json, "pooler_activation"),
          static_cast<int64_t>(labels.size())};
}

}  // namespace

ModelSpec parse_model_spec(const std::string& config) {
  const Json root = Json::parse(config);
  const Json& model = root.at("model");
  constexpr std::array<std::pair<std::string_view, Architecture>, 3> kArchitectures = {{
      {"encoder_decoder", Architecture::encoder_decoder},
      {"encoder", Architecture::encoder},
      {"decoder", Architecture::decoder},
  }};
  ModelSpec spec = {parse_name(model, "architecture", kArchitectures),
                    parse_stack(model.at("encoder")),
                    parse_stack(model.at("decoder")),
                    model.at("shared_embedding").as_bool("shared_embedding"),
                    model.at("tied_output").as_bool("tied_output"),
                    std::nullopt};
  if (const Json* const head = model.find("head")) spec.head = parse_head(*head);
  if (spec.head && spec.architecture != Architecture::encoder) {
    throw JsonError("a head stands on an encoder alone");
  }
  if (spec.encoder.autoregression != Autoregression::self_attention) {
    throw JsonError("an encoder has self-attention");
  }
  if (spec.decoder.vector_size > 0 || (spec.encoder.vector_size > 0 && spec.has_decoder())) {
    throw JsonError("only an encoder alone reads vectors");
  }
  if ((!spec.has_encoder() && spec.encoder.num_layers > 0) ||
      (!spec.has_decoder() && spec.decoder.num_layers > 0)) {
    throw JsonError("the stack that the architecture lacks has layers");
  }
  if (spec.shared_embedding && (spec.encoder.vocab_size != spec.decoder.vocab_size ||
                                spec.encoder.d_model != spec.decoder.d_model)) {
    throw JsonError("a shared embedding needs the same vocab_size and d_model on both sides");
  }
  return spec;
}

}  // namespace pytransformer::nn
