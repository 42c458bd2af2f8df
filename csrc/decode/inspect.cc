#include "decode/inspect.h"

#include <optional>
#include <span>
#include <stdexcept>

#include "decode/options.h"
#include "nn/decoder.h"
#include "nn/encoder.h"

namespace pytransformer::decode {
namespace {

// One pass over a source and all tokens of a target.
class ForcedPass {
 public:
  ForcedPass(const nn::Model& model, simd::Isa isa, const std::vector<int32_t>& source,
             const std::vector<int32_t>& target)
      : target_(target),
        decoder_spec_(model.spec().decoder),
        team_(kernels::table(isa), 1),
        encoder_(model, team_),
        decoder_(model, team_),
        self_(decoder_spec_, nn::cache_type(model.compute_type())) {
    if (!model.spec().has_decoder()) throw std::invalid_argument("the model only encodes");
    check_target();
    if (!model.spec().has_encoder()) {
      if (!source.empty()) throw std::invalid_argument("source: the model has no encoder");
      return;
    }
    if (model.spec().encoder.vector_size > 0) {
      throw std::invalid_argument("source: the encoder reads vectors, not tokens");
    }
    check_ids("source", source, model.spec().encoder);
    source_ = source;
    cross_.emplace(decoder_spec_, nn::cache_type(model.compute_type()),
                   static_cast<int64_t>(source.size()));
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
      if (logits != nullptr) rows[i].logits = logits + i * static_cast<size_t>(vocab_size());
    }
    const nn::StepSentence sentence = {cross_ ? &*cross_ : nullptr,       &self_,  0,
                                       static_cast<int64_t>(rows.size()), nullptr, tap};
    nn::StepOutput output = {};
    output.num_candidates = 1;
    decoder_.step(rows, {&sentence, 1}, output);
  }

  int64_t vocab_size() const { return decoder_spec_.vocab_size; }

 private:
  // The start token may be none.
  void check_target() const {
    std::vector<int32_t> ids = target_;
    if (!ids.empty() && ids.front() == -1) ids.front() = 0;
    check_ids("target", ids, decoder_spec_);
  }

  const std::vector<int32_t>& target_;
  const nn::StackSpec& decoder_spec_;
  std::vector<int32_t> source_;
  nn::Team team_;
  nn::Encoder encoder_;
  nn::Decoder decoder_;
  nn::SelfCache self_;
  std::optional<nn::CrossCache> cross_;
};

}  // namespace

std::vector<float> forced_logits(const nn::Model& model, simd::Isa isa,
                                 const std::vector<int32_t>& source,
                                 const std::vector<int32_t>& target) {
  ForcedPass pass(model, isa, source, target);
  pass.encode(nullptr);
  std::vector<float> logits(target.size() * static_cast<size_t>(pass.vocab_size()));
  pass.decode(logits.data(), nullptr);
  return logits;
}

Attention forced_attention(const nn::Model& model, simd::Isa isa,
                           const std::vector<int32_t>& source, const std::vector<int32_t>& target) {
  const nn::ModelSpec& spec = model.spec();
  const auto heads_of = [](const nn::StackSpec& stack) {
    return static_cast<size_t>(stack.num_layers * stack.num_heads);
  };
  const size_t keys = source.size();
  const size_t steps = target.size();
  ForcedPass pass(model, isa, source, target);
  Attention attention;
  attention.encoder.resize(heads_of(spec.encoder) * keys * keys);
  attention.decoder.resize(heads_of(spec.decoder) * steps * steps);
  attention.cross.resize(heads_of(spec.decoder) * steps * keys);
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
