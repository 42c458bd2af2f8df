#include "decode/scoring.h"

#include <cmath>
#include <limits>
#include <stdexcept>

namespace pytransformer::decode {

Scoring::Scoring(const TaskSetting& setting)
    : options_(setting.options),
      target_(setting.request.target),
      cache_(setting.decoder, setting.cache) {
  result_.ids = target_;
  done_ = target_.empty();
}

void Scoring::append_rows(std::vector<nn::StepRow>& rows) {
  logits_.assign(target_.size(), -std::numeric_limits<float>::infinity());
  for (size_t i = 0; i < target_.size(); ++i) path_.push_back(cache_.allocate());
  for (size_t i = 0; i < target_.size(); ++i) {
    nn::StepRow row = {};
    row.token = i == 0 ? options_.decoder_start_token_id : target_[i - 1];
    row.position = static_cast<int32_t>(i);
    row.slot = path_[i];
    row.path = path_.data();
    row.aside = std::span(target_).subspan(i, 1);
    row.aside_logits = &logits_[i];
    rows.push_back(row);
  }
}

void Scoring::advance(std::span<const kernels::TopK>, std::span<const float> log_sums) {
  for (size_t i = 0; i < logits_.size(); ++i) {
    const float log_prob = logits_[i] - log_sums[i];
    // A token that the model forbids has the probability 0; that is an answer.
    if (std::isnan(log_prob) || !std::isfinite(log_sums[i])) {
      throw std::domain_error("the model's output is not finite");
    }
    result_.log_probs.push_back(log_prob);
  }
  done_ = true;
}

Translation Scoring::take_result() {
  Translation translation;
  translation.push_back(std::move(result_));
  return translation;
}

}  // namespace pytransformer::decode
