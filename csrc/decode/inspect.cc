#include "decode/inspect.h"

#include <optional>
#include <span>
#include <stdexcept>

#include "decode/options.h"
#include "nn/decoder.h"
#include "nn/encoder.h"
#include "simd/float_environment.h"

namespace pytransformer::decode {
namespace {

using Ids = std::vector<int32_t>;

// The start token of a target may be none.
void check(const nn::ModelSpec& model, const Ids& source, const Ids& target) {
  if (!model.has_decoder()) throw std::invalid_argument("the model only encodes");
  Ids ids = target;
  if (!ids.empty() && ids.front() == -1) ids.front() = 0;
  check_ids("target", ids, model.decoder);
  if (!model.has_encoder()) {
    if (!source.empty()) throw std::invalid_argument("source: the model has no encoder");
    return;
  }
  if (model.encoder.vector_size > 0) {
    throw std::invalid_argument("source: the encoder reads vectors, not tokens");
  }
  check_ids("source", source, model.encoder);
}

constexpr int kThreads = 1;

// Of a pass, and what it gives.
int64_t needed_bytes(const Engine& engine, size_t source, size_t target, size_t results) {
  const nn::Model& model = engine.model();
  const MemoryBounds bounds(model, {kernels::table(engine.isa()), kThreads}, 0);
  const auto keys = static_cast<int64_t>(source);
  const auto steps = static_cast<int64_t>(target);
  const kernels::CacheType type = nn::cache_type(model.compute_type());
  const nn::StackSpec& decoder = model.spec().decoder;
  constexpr auto kRow = static_cast<int64_t>(sizeof(nn::StepRow) + 2 * sizeof(int32_t));
  return bounds.bytes({keys, keys, 0, {steps, steps, keys, 1}}) +
         nn::CrossCache::bytes(decoder, type, keys) + nn::SelfCache::bytes(decoder, type, steps) +
         simd::allocated_by_growth(steps * kRow) +
         simd::allocated(static_cast<int64_t>(results * sizeof(float)));
}

// One pass over a source and all tokens of a target.
class ForcedPass {
 public:
  // `results`: how many numbers are asked for.
  ForcedPass(Engine& engine, const Ids& source, const Ids& target, size_t results)
      : source_(source),
        target_(target),
        hold_(engine.hold(needed_bytes(engine, source.size(), target.size(), results))),
        decoder_spec_(engine.model().spec().decoder),
        team_(kernels::table(engine.isa()), kThreads),
        encoder_(engine.model(), team_),
        decoder_(engine.model(), team_),
        self_(decoder_spec_, nn::cache_type(engine.model().compute_type())) {
    if (source.empty()) return;
    cross_.emplace(decoder_spec_, self_.type(), static_cast<int64_t>(source.size()));
  }

  void encode(float* weights) {
    if (!cross_) return;
    const std::span<const int32_t> ids = source_;
    encoder_.run({&ids, 1}, weights);
    nn::CrossCache* const cross = &*cross_;
    encoder_.fill({&cross, 1});
  }

  // Reads all tokens in one step; `logits` [target, vocab_size] or null.
  void decode(float* logits, const nn::AttentionTap* tap) {
    std::vector<int32_t> path;
    for (size_t i = 0; i < target_.size(); ++i) path.push_back(self_.allocate());
    std::vector<nn::StepRow> rows(target_.size());
    for (size_t i = 0; i < target_.size(); ++i) {
      rows[i].token = target_[i];
      rows[i].position = static_cast<int32_t>(i);
      rows[i].slot = path[i];
      rows[i].path = path.data();
      if (logits != nullptr)
        rows[i].logits = logits + i * static_cast<size_t>(decoder_spec_.vocab_size);
    }
    const nn::StepSentence sentence = {cross_ ? &*cross_ : nullptr,       &self_,  0,
                                       static_cast<int64_t>(rows.size()), nullptr, tap};
    nn::StepOutput output = {};
    output.num_candidates = 1;
    decoder_.step(rows, {&sentence, 1}, output);
  }

 private:
  const simd::DefaultFloatEnvironment environment_;
  const Ids& source_;
  const Ids& target_;
  const Engine::Hold hold_;
  const nn::StackSpec& decoder_spec_;
  nn::Team team_;
  nn::Encoder encoder_;
  nn::Decoder decoder_;
  nn::SelfCache self_;
  std::optional<nn::CrossCache> cross_;
};

}  // namespace

std::vector<float> forced_logits(Engine& engine, const Ids& source, const Ids& target) {
  const nn::ModelSpec& spec = engine.model().spec();
  check(spec, source, target);
  const size_t results = target.size() * static_cast<size_t>(spec.decoder.vocab_size);
  ForcedPass pass(engine, source, target, results);
  pass.encode(nullptr);
  std::vector<float> logits(results);
  pass.decode(logits.data(), nullptr);
  return logits;
}

Attention forced_attention(Engine& engine, const Ids& source, const Ids& target) {
  const nn::ModelSpec& spec = engine.model().spec();
  check(spec, source, target);
  const auto heads_of = [](const nn::StackSpec& stack) {
    return static_cast<size_t>(stack.num_layers * stack.num_heads);
  };
  const size_t keys = source.size();
  const size_t steps = target.size();
  const size_t encoder = heads_of(spec.encoder) * keys * keys;
  const size_t decoder = heads_of(spec.decoder) * steps * steps;
  const size_t cross = heads_of(spec.decoder) * steps * keys;
  ForcedPass pass(engine, source, target, encoder + decoder + cross);
  Attention attention;
  attention.encoder.resize(encoder);
  attention.decoder.resize(decoder);
  attention.cross.resize(cross);
  pass.encode(attention.encoder.data());
  nn::AttentionTap tap = {};
  tap.layers = spec.decoder.num_layers;
  tap.cross = attention.cross.data();
  tap.self = attention.decoder.data();
  tap.positions = static_cast<int64_t>(steps);
  pass.decode(nullptr, &tap);
  return attention;
}

}  // namespace pytransformer::decode
