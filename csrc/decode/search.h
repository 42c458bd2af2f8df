// Greedy search, beam search and sampling for one sentence, with the semantics of Hugging Face's
// `generate`; docs/decoding.md says what each option adds.
//
// The first step reads the start token and the tokens that are forced behind it. Then one or more
// groups of beams go on from there: one for plain beam search, several for diverse beams, for
// independent samples and for alternatives.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "decode/beam.h"
#include "decode/task.h"
#include "decode/trellis.h"

namespace pytransformer::decode {

class Search : public Task {
 public:
  explicit Search(const TaskSetting& setting);

  int32_t candidates_needed() const override;
  bool needs_log_sum() const override;
  void append_rows(std::vector<nn::StepRow>& rows) override;
  nn::SelfCache& cache() override { return trellis_.cache(); }
  const nn::AttentionTap* attention() const override;
  void advance(std::span<const kernels::TopK> candidates, std::span<const float> log_sums) override;
  bool done() const override { return done_; }
  Translation take_result() override;
  std::vector<TokenEvent> take_events() override;
  void stop(int32_t tokens) override;
  TaskNeeds needs() const override;

 private:
  // What the decoder says of the rows of the step in progress.
  struct StepResult {
    std::span<const kernels::TopK> candidates;
    std::span<const float> log_sums;
  };

  // What a logit loses before rules change it, and behind them.
  struct Scale {
    float before;
    float behind;
  };

  // How far a search may reach.
  struct Extent {
    int64_t prefix;   // tokens that all hypotheses have in common
    int64_t longest;  // tokens of a hypothesis, the start token included
    int64_t groups;
    int64_t beam_size;  // of one group
    int64_t beams;      // of one group that may live at once
    int64_t live;       // of all groups
    int64_t source;     // tokens
  };

  // search.cc: the way from the start token to the result.
  void set_limits(const nn::ModelSpec& model);
  void append_prefix(std::vector<nn::StepRow>& rows);
  void append_beam(Beam& beam, std::vector<nn::StepRow>& rows);
  void read_token(Beam& beam);
  void add_row(const Beam& beam, size_t position, std::vector<nn::StepRow>& rows);
  void prepare_records(std::span<nn::StepRow> rows);
  void keep_records(std::span<const float> log_sums);
  void keep_attention(int32_t layer, std::span<const int32_t> heads, size_t row,
                      std::vector<float>& mean) const;
  void start_groups();
  void finish_forced();
  void start_alternatives(const StepResult& result);
  void start_alternative(Group& group, const Candidate& candidate);
  Group make_group(int32_t beam_size, size_t index);
  void close(Group& group);
  std::vector<int32_t> history(const Beam& beam) const;

  // outcome.cc: what the search gives.
  int64_t common_tokens() const;
  const Hypothesis* best() const;

  // selection.cc: one step of one group.
  void set_aside(Beam& beam);
  std::span<const float> whole_sums(std::span<const float> log_sums);
  void advance_group(size_t index, const StepResult& result);
  void collect(const Group& group, const StepResult& result);
  size_t width(const Group& group) const;
  size_t considered(const Group& group) const;
  void collect_beam(const Group& group, size_t index, const StepResult& result);
  int32_t need_behind(const Beam& beam, int32_t token);
  float penalised(float value) const;
  Scale scale_of(const Beam& beam, float log_sum);
  Candidate candidate(const Beam& beam, int32_t token, float logit, bool repeated,
                      const Scale& scale) const;
  void check_finite(const Beam& beam, const StepResult& result) const;
  void choose_by_chance(Group& group, const StepResult& result);
  void weigh_all(const Beam& beam, const Scale& scale);
  void select(Group& group);
  void extend(const Beam& parent, const Candidate& candidate);
  void finish_at_limit(Group& group);
  void stop_loops(Group& group);
  bool loses_place(size_t place) const;
  bool can_improve(const Group& group) const;

  // hypothesis.cc: what becomes of a beam that ends.
  void finish(Group& group, const Candidate& candidate);
  void finish(Group& group, const Beam& beam, FinishReason reason);
  Hypothesis read_tokens(const Beam& beam) const;
  void enter(Group& group, Hypothesis hypothesis) const;
  float coverage(const Beam& beam) const;
  void add_records(Hypothesis& hypothesis, const Beam& beam) const;
  void shorten(Hypothesis& hypothesis, size_t tokens) const;
  Hypothesis nothing(size_t tokens) const;

  // search_needs.cc: what it may ask for.
  Extent extent() const;
  int64_t most_candidates() const;
  int64_t most_aside(const Extent& extent) const;
  int64_t trellis_bytes(const Extent& extent) const;
  int64_t beam_bytes(const Extent& extent) const;
  int64_t record_bytes(const Extent& extent) const;
  int64_t finished_bytes(const Extent& extent) const;

  size_t capacity(int32_t beam_size) const;
  bool at_limit() const { return length_ >= limit_; }
  // Whether an end token follows a hypothesis that may not grow.
  bool forces_end() const { return options_.forced_end_token_id >= 0; }
  // Whether nothing comes behind the tokens that are forced.
  bool all_forced() const { return static_cast<int32_t>(forced_.size()) >= limit_; }
  // The logits of a row of the step in progress that is not silent.
  float* logits_of(size_t row) {
    return &row_logits_[(row - silent_) * static_cast<size_t>(decoder_.vocab_size)];
  }
  bool records_coverage() const;
  bool records_attention() const;
  int32_t coverage_layer() const;
  bool draws_from_all() const;
  float normalised(float score, int32_t length) const;
  // Tokens of the step in progress that divide the score, the end token included.
  int32_t counted_length() const { return length_ - uncounted_; }

  const SearchOptions& options_;
  const Request& request_;
  const nn::StackSpec& decoder_;
  TokenRules rules_;
  Phrases phrases_;
  int32_t phrases_need_;
  bool renormalises_;  // and somebody wants to know
  bool single_;        // a group is one beam, whose continuations are compared by logits
  Trellis trellis_;
  int32_t prompt_ = 0;           // tokens behind the start token that are no part of the result
  std::vector<int32_t> forced_;  // tokens behind the start token, these included
  int32_t unscored_ = 0;         // of these, those that do not count for the score
  int32_t uncounted_ = 0;        // and those that are not in the length that divides it
  int32_t limit_;                // most tokens of a hypothesis
  int32_t least_;                // so many must come before an end token
  int32_t length_ = 0;           // of a hypothesis that ends with the step in progress

  Beam root_;
  std::vector<Group> groups_;
  bool started_ = false;
  bool done_ = false;
  Translation result_;  // of a search that was stopped before it had begun

  std::vector<Candidate> candidates_;
  std::vector<Beam> next_beams_;
  Sampler sampler_;
  std::vector<int32_t> wanted_;
  std::vector<float> left_;                // what the rules leave of a row, for its sum
  std::vector<float> log_sums_;            // of the rows of the step in progress
  std::vector<int32_t> chosen_by_groups_;  // in this step, by those that came before
  Phrases::Progress progress_;             // of the candidate that is looked at

  // Records of the step in progress, and their place in the trellis, by row.
  std::vector<int32_t> row_slots_;
  size_t silent_ = 0;                 // of the first so many rows nobody asks what follows them
  std::vector<float> row_attention_;  // [layers of the tap, heads, rows, source]
  std::vector<float> row_logits_;     // [rows that are not silent, vocab_size]
  std::vector<int32_t> all_heads_;
  nn::AttentionTap tap_ = {};

  int32_t told_ = 0;  // tokens that were told of by events
};

}  // namespace pytransformer::decode
