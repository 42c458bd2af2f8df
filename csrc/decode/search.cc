#include "decode/search.h"

#include <algorithm>
#include <cmath>
#include <stdexcept>

namespace pytransformer::decode {

Search::Search(const SearchOptions& options, const nn::StackSpec& decoder, kernels::CacheType cache)
    : options_(options), trellis_(decoder, cache) {
  beams_.push_back({-1, options.decoder_start_token_id, 0.0f, {}});
}

int32_t Search::candidates_needed(const SearchOptions& options) {
  const auto ends = static_cast<int32_t>(options.end_token_ids.size());
  const auto suppressed = static_cast<int32_t>(options.suppress_token_ids.size());
  const int32_t kept = options.beam_size == 1 ? 1 : (1 + ends) * options.beam_size;
  return kept + suppressed + (options.min_decoding_length > 0 ? ends : 0);
}

bool Search::needs_log_sum(const SearchOptions& options) {
  return options.beam_size > 1 || options.return_scores;
}

void Search::append_rows(std::vector<nn::StepRow>& rows) {
  for (Beam& beam : beams_) {
    beam.slot = trellis_.append(beam.slot, beam.token);
    beam.path.push_back(beam.slot);
    rows.push_back({beam.token, length_, beam.slot, beam.path.data()});
  }
  ++length_;
}

bool Search::is_end(int32_t token) const {
  const std::vector<int32_t>& ends = options_.end_token_ids;
  return std::find(ends.begin(), ends.end(), token) != ends.end();
}

bool Search::is_allowed(int32_t token) const {
  const std::vector<int32_t>& suppressed = options_.suppress_token_ids;
  if (std::find(suppressed.begin(), suppressed.end(), token) != suppressed.end()) return false;
  return length_ > options_.min_decoding_length || !is_end(token);
}

// Whether the step in progress is the last one.
bool Search::at_limit() const { return length_ >= options_.max_decoding_length; }

float Search::normalised(float score, int32_t length) const {
  return static_cast<float>(
      score / std::pow(static_cast<double>(length), static_cast<double>(options_.length_penalty)));
}

// All continuations of all beams that can matter, best first.
void Search::collect(std::span<const kernels::TopK> candidates, std::span<const float> log_sums) {
  candidates_.clear();
  for (size_t i = 0; i < beams_.size(); ++i) {
    const auto beam = static_cast<int32_t>(i);
    const float score = beams_[i].score;
    const kernels::TopK& top = candidates[i];
    if (top.count == 0 || !std::isfinite(top.logits[0]) || !std::isfinite(log_sums[i])) {
      throw std::domain_error("the model's output is not finite");
    }
    for (int32_t c = 0; c < top.count; ++c) {
      if (!is_allowed(top.ids[c])) continue;
      candidates_.push_back({beam, c, top.ids[c], score + (top.logits[c] - log_sums[i])});
    }
  }
  const size_t ends = options_.end_token_ids.size();
  const auto beam_size = static_cast<size_t>(options_.beam_size);
  const size_t kept = std::min(candidates_.size(), beam_size == 1 ? 1 : (1 + ends) * beam_size);
  // Adding a logit to a long sum may round a difference away; a beam's own order keeps it, so that
  // greedy search takes the largest logit whether the sum of logits is known or not.
  const auto better = [](const Candidate& a, const Candidate& b) {
    if (a.score != b.score) return a.score > b.score;
    return a.beam != b.beam ? a.beam < b.beam : a.rank < b.rank;
  };
  std::partial_sort(candidates_.begin(), candidates_.begin() + static_cast<ptrdiff_t>(kept),
                    candidates_.end(), better);
  candidates_.resize(kept);
}

void Search::finish(const Candidate& candidate) {
  Hypothesis hypothesis;
  const Beam& beam = beams_[static_cast<size_t>(candidate.beam)];
  for (size_t i = 1; i < beam.path.size(); ++i) {
    hypothesis.ids.push_back(trellis_.token(beam.path[i]));
  }
  if (!is_end(candidate.token)) hypothesis.ids.push_back(candidate.token);
  hypothesis.score = normalised(candidate.score, length_);
  enter(std::move(hypothesis));
}

// At the limit a forced end token follows the last token of every beam. Its probability counts as
// one, so the model need not be asked.
void Search::finish_by_force() {
  for (const Beam& beam : beams_) {
    Hypothesis hypothesis;
    for (size_t i = 1; i < beam.path.size(); ++i) {
      hypothesis.ids.push_back(trellis_.token(beam.path[i]));
    }
    hypothesis.ids.push_back(beam.token);
    hypothesis.score = normalised(beam.score, length_ + 1);
    enter(std::move(hypothesis));
  }
}

void Search::enter(Hypothesis hypothesis) {
  const auto place = std::find_if(finished_.begin(), finished_.end(), [&](const Hypothesis& other) {
    return other.score < hypothesis.score;
  });
  finished_.insert(place, std::move(hypothesis));
  if (finished_.size() > static_cast<size_t>(options_.beam_size)) finished_.pop_back();
}

// The best `wanted` candidates that go on become the new beams.
void Search::replace_beams(size_t wanted) {
  next_beams_.clear();
  for (const Candidate& candidate : candidates_) {
    if (next_beams_.size() == wanted) break;
    if (is_end(candidate.token)) continue;
    const Beam& parent = beams_[static_cast<size_t>(candidate.beam)];
    trellis_.hold(parent.slot);
    next_beams_.push_back({parent.slot, candidate.token, candidate.score, parent.path});
  }
  for (const Beam& beam : beams_) trellis_.release(beam.slot);
  beams_.swap(next_beams_);
}

// Whether a running beam can still enter the finished ones, by the rule that early_stopping names.
bool Search::can_improve() const {
  if (finished_.size() < static_cast<size_t>(options_.beam_size)) return true;
  if (options_.early_stopping == EarlyStopping::full) return false;
  const bool may_grow =
      options_.early_stopping == EarlyStopping::never && options_.length_penalty > 0;
  const int32_t limit = options_.max_decoding_length + (options_.forced_end_token_id >= 0 ? 1 : 0);
  const float best = normalised(beams_.front().score, may_grow ? limit : length_);
  return best > finished_.back().score;
}

void Search::advance(std::span<const kernels::TopK> candidates, std::span<const float> log_sums) {
  collect(candidates, log_sums);
  const auto beam_size = static_cast<size_t>(options_.beam_size);
  const bool forced = at_limit() && options_.forced_end_token_id >= 0;
  const bool last = at_limit() && !forced;
  // Only the best beam_size may finish; those behind them are there so that enough are left to go
  // on.
  for (size_t i = 0; i < std::min(beam_size, candidates_.size()); ++i) {
    if (last || is_end(candidates_[i].token)) finish(candidates_[i]);
  }
  if (last || candidates_.empty()) {
    done_ = true;
    return;
  }
  replace_beams(beam_size);
  done_ = beams_.empty() || !can_improve();
  if (done_ || !forced) return;
  finish_by_force();
  done_ = true;
}

Translation Search::take_result() {
  const auto wanted = static_cast<size_t>(options_.num_hypotheses);
  if (finished_.size() > wanted) finished_.resize(wanted);
  if (!needs_log_sum(options_)) {
    for (Hypothesis& hypothesis : finished_) hypothesis.score = 0;
  }
  return std::move(finished_);
}

}  // namespace pytransformer::decode
