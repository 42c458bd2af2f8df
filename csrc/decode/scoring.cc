#include "decode/scoring.h"

#include <cmath>
#include <limits>
#include <stdexcept>

namespace pytransformer::decode {

Scoring::Scoring(const TaskSetting& setting)
    : options_(setting.options),
      target_(setting.request.target),
      decoder_(setting.model.decoder),
      cache_(setting.model.decoder, setting.cache) {
  if (setting.model.has_encoder()) {
    before_ = {options_.decoder_start_token_id};
  } else {
    before_ = setting.request.source;
  }
  result_.ids = target_;
  done_ = target_.empty();
}

void Scoring::append_rows(std::vector<nn::StepRow>& rows) {
  logits_.assign(target_.size(), -std::numeric_limits<float>::infinity());
  std::vector<int32_t> tokens = before_;
  tokens.insert(tokens.end(), target_.begin(), target_.end() - 1);
  for (size_t i = 0; i < tokens.size(); ++i) path_.push_back(cache_.allocate());
  for (size_t i = 0; i < tokens.size(); ++i) {
    nn::StepRow row = {};
    row.token = tokens[i];
    row.position = static_cast<int32_t>(i);
    row.slot = path_[i];
    row.path = path_.data();
    row.is_silent = i + 1 < before_.size();
    if (!row.is_silent) {
      const size_t next = i + 1 - before_.size();
      row.aside = std::span(target_).subspan(next, 1);
      row.aside_logits = &logits_[next];
    }
    rows.push_back(row);
  }
}

void Scoring::advance(std::span<const kernels::TopK>, std::span<const float> all_log_sums) {
  const std::span<const float> log_sums = all_log_sums.subspan(before_.size() - 1);
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

TaskNeeds Scoring::needs() const {
  const auto targets = static_cast<int64_t>(target_.size());
  if (targets == 0) return {};
  const int64_t tokens = static_cast<int64_t>(before_.size()) + targets - 1;
  TaskNeeds needs;
  needs.first_rows = tokens;
  needs.positions = tokens;
  needs.candidates = candidates_needed();
  constexpr auto kToken = static_cast<int64_t>(3 * sizeof(int32_t));
  constexpr auto kTarget = static_cast<int64_t>(2 * sizeof(float) + sizeof(int32_t));
  needs.bytes = static_cast<int64_t>(sizeof(Scoring)) +
                nn::SelfCache::bytes(decoder_, cache_.type(), tokens) +
                simd::allocated_by_growth(tokens * kToken) +
                simd::allocated_by_growth(targets * kTarget);
  return needs;
}

Translation Scoring::take_result() {
  Translation translation;
  translation.push_back(std::move(result_));
  return translation;
}

}  // namespace pytransformer::decode
