#include "decode/inspect.h"

#include <span>

#include "decode/options.h"
#include "nn/decoder.h"
#include "nn/encoder.h"

namespace pytransformer::decode {

std::vector<float> encoder_states(const nn::Model& model, simd::Isa isa,
                                  const std::vector<int32_t>& source) {
  check_ids("source", source, model.spec().encoder);
  nn::Team team(kernels::table(isa), 1);
  nn::Encoder encoder(model, team);
  const std::span<const int32_t> ids = source;
  const nn::Rows rows = encoder.run({&ids, 1});
  const int64_t d_model = model.spec().encoder.d_model;
  std::vector<float> states;
  for (size_t i = 0; i < source.size(); ++i) {
    const float* const row = rows.row(static_cast<int64_t>(i));
    states.insert(states.end(), row, row + d_model);
  }
  return states;
}

std::vector<float> forced_logits(const nn::Model& model, simd::Isa isa,
                                 const std::vector<int32_t>& source,
                                 const std::vector<int32_t>& target) {
  check_ids("source", source, model.spec().encoder);
  check_ids("target", target, model.spec().decoder);
  const nn::StackSpec& spec = model.spec().decoder;
  nn::Team team(kernels::table(isa), 1);
  nn::Encoder encoder(model, team);
  const std::span<const int32_t> ids = source;
  encoder.run({&ids, 1});
  const kernels::CacheType type = nn::cache_type(model.compute_type());
  nn::CrossCache cross(spec, type, static_cast<int64_t>(source.size()));
  nn::CrossCache* const cross_pointer = &cross;
  encoder.fill({&cross_pointer, 1});

  nn::Decoder decoder(model, team);
  nn::SelfCache self(spec, type);
  std::vector<int32_t> path;
  std::vector<float> logits(target.size() * static_cast<size_t>(spec.vocab_size));
  nn::StepOutput output = {};
  output.num_candidates = 1;
  for (size_t i = 0; i < target.size(); ++i) {
    path.push_back(self.allocate());
    const nn::StepRow row = {target[i], static_cast<int32_t>(i), path.back(), path.data()};
    const nn::StepSentence sentence = {&cross, &self, 0, 1};
    output.logits = logits.data() + i * static_cast<size_t>(spec.vocab_size);
    decoder.step({&row, 1}, {&sentence, 1}, output);
  }
  return logits;
}

}  // namespace pytransformer::decode
