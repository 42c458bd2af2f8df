// The log-probabilities of a given translation, in one step: all of its tokens are read at once.
#pragma once

#include <vector>

#include "decode/task.h"
#include "nn/cache.h"

namespace pytransformer::decode {

class Scoring : public Task {
 public:
  explicit Scoring(const TaskSetting& setting);

  int32_t candidates_needed() const override { return 1; }
  bool needs_log_sum() const override { return true; }
  void append_rows(std::vector<nn::StepRow>& rows) override;
  nn::SelfCache& cache() override { return cache_; }
  void advance(std::span<const kernels::TopK> candidates, std::span<const float> log_sums) override;
  bool done() const override { return done_; }
  Translation take_result() override;
  TaskNeeds needs() const override;

 private:
  const SearchOptions& options_;
  const std::vector<int32_t>& target_;
  const nn::StackSpec& decoder_;
  std::vector<int32_t> before_;  // what the decoder reads before the first target token
  nn::SelfCache cache_;
  std::vector<int32_t> path_;
  std::vector<float> logits_;  // of each target token
  Hypothesis result_;
  bool done_ = false;
};

}  // namespace pytransformer::decode
