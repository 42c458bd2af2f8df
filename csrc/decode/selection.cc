// One step of one group of beams: which continuations end, which go on.
#include <algorithm>
#include <cmath>
#include <limits>
#include <stdexcept>

#include "decode/history.h"
#include "decode/search.h"

namespace pytransformer::decode {
namespace {

constexpr float kInfinity = std::numeric_limits<float>::infinity();
// Behind the decoder's own candidates, where scores are equal.
constexpr int32_t kAsideRank = 1 << 20;

// In double precision: it becomes a part of all scores.
float log_sum_exp(std::span<const float> values) {
  const float most = *std::max_element(values.begin(), values.end());
  if (most == -kInfinity) return most;
  double sum = 0;
  for (const float value : values) sum += std::exp(static_cast<double>(value - most));
  return static_cast<float>(static_cast<double>(most) + std::log(sum));
}

bool not_a_logit(float logit) { return std::isnan(logit) || logit == kInfinity; }

// Adding a logit to a long sum may round a difference away; a beam's own order keeps it, so that
// greedy search takes the largest logit whether the sum of logits is known or not.
bool better(const Candidate& a, const Candidate& b) {
  if (a.key != b.key) return a.key > b.key;
  return a.beam != b.beam ? a.beam < b.beam : a.rank < b.rank;
}

}  // namespace

// Says which tokens the decoder shall leave to us in the row of this beam.
void Search::set_aside(Beam& beam) {
  wanted_.clear();
  const int32_t need = phrases_.empty() ? 0 : phrases_.need(beam.phrases);
  if (need > 0) phrases_.matching_tokens(beam.phrases, wanted_);
  const bool required = need > limit_ - length_;
  const size_t next = beam.path.size() - 1;
  if (beam.follows_prefix) wanted_.push_back(request_.target[next]);
  const bool may_end = length_ > least_ && need == 0;
  std::vector<int32_t> said;
  if (rules_.needs_history()) said = history(beam);
  // Among the best candidates there might be none but those that go on with the word.
  if (may_end && phrases_.word_may_go_on(beam.phrases)) {
    wanted_.insert(wanted_.end(), options_.end_token_ids.begin(), options_.end_token_ids.end());
  }
  const std::span<const int32_t> counted = said;
  // CTranslate2's history begins behind the start token.
  const size_t start = options_.as_ctranslate2() && !said.empty() ? 1 : 0;
  rules_.collect(counted.subspan(start), may_end, wanted_, required, beam.aside);
  beam.aside_ids.clear();
  for (const AsideToken& token : beam.aside) beam.aside_ids.push_back(token.id);
  beam.aside_logits.assign(beam.aside.size(), -kInfinity);
}

// The sums of all logits of each row, of which a beam's leaves out those that are set aside where
// scores are normalised again. No sum is ever made smaller: what is left may be next to nothing.
std::span<const float> Search::whole_sums(std::span<const float> log_sums) {
  if (!renormalises_) return log_sums;
  log_sums_.assign(log_sums.begin(), log_sums.end());
  const auto complete = [&](Beam& beam) {
    beam.others = log_sums[beam.row];
    left_ = beam.aside_logits;
    left_.push_back(beam.others);
    log_sums_[beam.row] = log_sum_exp(left_);
  };
  if (!started_) complete(root_);
  for (Group& group : groups_) {
    for (Beam& beam : group.beams) complete(beam);
  }
  return log_sums_;
}

void Search::advance_group(size_t index, const StepResult& result) {
  Group& group = groups_[index];
  if (options_.samples()) {
    choose_by_chance(group, result);
  } else {
    collect(group, result);
  }
  select(group);
  if (options_.stop_loops) stop_loops(group);
  const bool goes_on = !group.beams.empty() && can_improve(group);
  if (goes_on && at_limit()) finish_at_limit(group);
  for (const Beam& beam : group.beams) chosen_by_groups_.push_back(beam.token);
  if (!goes_on || at_limit()) close(group);
}

// All continuations of a group's beams that can matter, best first.
void Search::collect(const Group& group, const StepResult& result) {
  candidates_.clear();
  for (size_t i = 0; i < group.beams.size(); ++i) collect_beam(group, i, result);
  size_t wanted = candidates_.size();
  if (phrases_.empty()) wanted = std::min(wanted, considered(group));
  std::partial_sort(candidates_.begin(), candidates_.begin() + static_cast<ptrdiff_t>(wanted),
                    candidates_.end(), better);
  candidates_.resize(wanted);
}

// How many hypotheses run, or may end, in a step.
size_t Search::width(const Group& group) const {
  const auto beam_size = static_cast<size_t>(group.beam_size);
  if (options_.beam_rule != BeamRule::marian) return beam_size;
  return beam_size - std::min(beam_size, group.finished.size());
}

// How many candidates are looked at: enough that beams go on even if the best ones all end.
size_t Search::considered(const Group& group) const {
  if (single_ && started_) return 1;
  if (options_.beam_rule == BeamRule::marian) return width(group);
  const size_t ends = options_.as_ctranslate2() ? 1 : options_.end_token_ids.size();
  return (1 + ends) * static_cast<size_t>(group.beam_size);
}

void Search::check_finite(const Beam& beam, const StepResult& result) const {
  const kernels::TopK& top = result.candidates[beam.row];
  const bool finite = std::isfinite(result.log_sums[beam.row]) &&
                      (top.count == 0 || !not_a_logit(top.logits[0])) &&
                      std::none_of(beam.aside_logits.begin(), beam.aside_logits.end(), not_a_logit);
  if (!finite) throw std::domain_error("the model's output is not finite");
}

void Search::collect_beam(const Group& group, size_t index, const StepResult& result) {
  const Beam& beam = group.beams[index];
  const kernels::TopK& top = result.candidates[beam.row];
  check_finite(beam, result);
  const Scale scale = scale_of(beam, result.log_sums[beam.row]);
  const auto add = [&](int32_t token, float logit, bool repeated, int32_t rank) {
    if (logit == -kInfinity) return;
    const int32_t need = phrases_.empty() ? 0 : need_behind(beam, token);
    if (need > limit_ - length_) return;
    candidates_.push_back(candidate(beam, token, logit, repeated, scale));
    candidates_.back().beam = index;
    candidates_.back().rank = rank;
    candidates_.back().need = need;
  };
  // There may be more, for the sake of others in the batch; they must not change anything here.
  const int32_t count = std::min(top.count, candidates_needed());
  for (int32_t c = 0; c < count; ++c) add(top.ids[c], top.logits[c], false, c);
  for (size_t i = 0; i < beam.aside.size(); ++i) {
    if (beam.aside[i].forbidden) continue;
    add(beam.aside[i].id, beam.aside_logits[i], beam.aside[i].repeated,
        kAsideRank + static_cast<int32_t>(i));
  }
}

int32_t Search::need_behind(const Beam& beam, int32_t token) {
  progress_ = beam.phrases;
  phrases_.advance(progress_, token);
  return phrases_.need(progress_);
}

float Search::penalised(float value) const {
  return value < 0 ? value * options_.repetition_penalty : value / options_.repetition_penalty;
}

// As in Hugging Face, greedy search changes logits, beam search log-probabilities; as in
// CTranslate2, both change logits.
Search::Scale Search::scale_of(const Beam& beam, float log_sum) {
  const float before = single_ || options_.as_ctranslate2() ? 0 : log_sum;
  if (!renormalises_) return {before, log_sum - before};
  left_.assign(1, beam.others - before);
  for (size_t i = 0; i < beam.aside.size(); ++i) {
    if (beam.aside[i].forbidden) continue;
    const float value = beam.aside_logits[i] - before;
    left_.push_back(beam.aside[i].repeated ? penalised(value) : value);
  }
  return {before, log_sum_exp(left_)};
}

Candidate Search::candidate(const Beam& beam, int32_t token, float logit, bool repeated,
                            const Scale& scale) const {
  float value = logit - scale.before;
  float log_prob = value - scale.behind;
  if (options_.diversity_penalty > 0) {
    const auto times = std::count(chosen_by_groups_.begin(), chosen_by_groups_.end(), token);
    value -= options_.diversity_penalty * static_cast<float>(times);
  }
  if (repeated) value = penalised(value);
  if (renormalises_) log_prob = value - scale.behind;
  if (!single_) value -= scale.behind;
  if (beam.follows_prefix) {
    const float beta = options_.prefix_bias_beta;
    const float unbiased = single_ ? value - scale.behind : value;
    const bool next = token == request_.target[beam.path.size() - 1];
    value = next ? std::log((1 - beta) * std::exp(unbiased) + beta) : unbiased + std::log1p(-beta);
  }
  const float key = single_ ? value : beam.score + value;
  return {0, 0, token, 0, key, single_ ? beam.score + log_prob : key, log_prob};
}

// Leaves the one candidate that was drawn, if there is any.
void Search::choose_by_chance(Group& group, const StepResult& result) {
  const Beam& beam = group.beams.front();
  const Scale scale = scale_of(beam, result.log_sums[beam.row]);
  sampler_.clear();
  candidates_.clear();
  if (draws_from_all()) {
    check_finite(beam, result);
    weigh_all(beam, scale);
  } else {
    collect_beam(group, 0, result);
    for (const Candidate& candidate : candidates_) sampler_.add(candidate.token, candidate.key);
  }
  if (sampler_.empty()) return;
  const int32_t token = sampler_.draw(group.random);
  const auto chosen =
      std::find_if(candidates_.begin(), candidates_.end(),
                   [&](const Candidate& candidate) { return candidate.token == token; });
  if (chosen != candidates_.end()) {
    candidates_ = {*chosen};
  } else {
    const float logit = logits_of(beam.row)[token];
    const auto aside = std::ranges::lower_bound(beam.aside, token, {}, &AsideToken::id);
    const bool repeated = aside != beam.aside.end() && aside->id == token && aside->repeated;
    candidates_ = {candidate(beam, token, logit, repeated, scale)};
  }
}

// All tokens of a row but the forbidden ones.
void Search::weigh_all(const Beam& beam, const Scale& scale) {
  const float* const logits = logits_of(beam.row);
  auto aside = beam.aside.begin();
  for (int32_t token = 0; token < decoder_.vocab_size; ++token) {
    const bool is_aside = aside != beam.aside.end() && aside->id == token;
    const bool forbidden = is_aside && aside->forbidden;
    const bool repeated = is_aside && aside->repeated;
    if (is_aside) ++aside;
    if (forbidden || logits[token] == -kInfinity) continue;
    sampler_.add(token, candidate(beam, token, logits[token], repeated, scale).key);
  }
}

// The best candidates end or go on, in each bank of the grid for itself (Hokamp and Liu 2017,
// "Lexically Constrained Decoding for Sequence Generation Using Grid Beam Search"): hypotheses
// compete with those that have said as much of what is required. Without phrases there is one bank.
void Search::select(Group& group) {
  const size_t beam_size = width(group);
  const size_t most = considered(group);
  const bool last = at_limit() && !forces_end();
  std::vector<size_t> seen(static_cast<size_t>(phrases_need_) + 1);
  std::vector<size_t> kept(seen.size());
  next_beams_.clear();
  for (const Candidate& candidate : candidates_) {
    const Beam& parent = group.beams[candidate.beam];
    const auto bank = static_cast<size_t>(phrases_need_ - candidate.need);
    if (seen[bank] == most) continue;
    // Only the best beam_size may end; those behind them are there so that enough go on.
    const size_t place = seen[bank]++;
    const bool first = place < beam_size;
    const bool end = rules_.is_end(candidate.token);
    if (end && loses_place(place)) {
      kept[bank] = std::min(kept[bank] + 1, beam_size);
    } else if (last || end) {
      if (first && bank + 1 == seen.size()) finish(group, candidate);
      if (place == 0) group.best_ended = true;
    } else if (kept[bank] < beam_size) {
      ++kept[bank];
      extend(parent, candidate);
    }
  }
  for (const Beam& beam : group.beams) trellis_.release(beam.slot);
  group.beams.swap(next_beams_);
}

// In CTranslate2, only the best token behind a prefix may end a hypothesis; others that would run
// on as hypotheses that cannot win.
bool Search::loses_place(size_t place) const {
  return options_.as_ctranslate2() && !single_ && place > 0 && unscored_ > prompt_ &&
         length_ == unscored_ + 1;
}

void Search::extend(const Beam& parent, const Candidate& candidate) {
  trellis_.hold(parent.slot);
  Beam beam;
  beam.slot = parent.slot;
  beam.token = candidate.token;
  beam.score = candidate.score;
  beam.log_prob = candidate.log_prob;
  beam.path.reserve(parent.path.size() + 1);
  beam.path = parent.path;
  const size_t place = parent.path.size() - 1;
  beam.follows_prefix = parent.follows_prefix && candidate.token == request_.target[place] &&
                        place + 1 < request_.target.size();
  beam.phrases = parent.phrases;
  phrases_.advance(beam.phrases, candidate.token);
  next_beams_.push_back(std::move(beam));
}

// At the limit every beam ends, with a forced end token if there is one. Its probability counts as
// one, so the model need not be asked.
void Search::finish_at_limit(Group& group) {
  for (const Beam& beam : group.beams) {
    if (phrases_.need(beam.phrases) > 0) continue;
    finish(group, beam, forces_end() ? FinishReason::end : FinishReason::length);
  }
}

void Search::stop_loops(Group& group) {
  std::erase_if(group.beams, [&](const Beam& beam) {
    if (phrases_.need(beam.phrases) > 0) return false;
    std::vector<int32_t> said = history(beam);
    said.push_back(beam.token);
    if (!ends_in_loop(std::span(said).subspan(1))) return false;
    finish(group, beam, FinishReason::loop);
    trellis_.release(beam.slot);
    return true;
  });
}

// Whether a running beam can still enter the finished ones, by the rule that early_stopping names.
bool Search::can_improve(const Group& group) const {
  if (options_.beam_rule == BeamRule::marian) return true;
  if (options_.as_ctranslate2()) {
    const bool plain = options_.length_penalty == 0 && options_.coverage_penalty == 0;
    if (!plain) return group.finished.size() < capacity(group.beam_size);
    return !group.best_ended ||
           group.finished.size() < static_cast<size_t>(options_.num_hypotheses);
  }
  if (group.finished.size() < capacity(group.beam_size)) return true;
  if (options_.early_stopping == EarlyStopping::full) return false;
  float best = -kInfinity;
  for (const Beam& beam : group.beams) best = std::max(best, beam.score);
  const bool may_grow =
      options_.early_stopping == EarlyStopping::never && options_.length_penalty > 0;
  const int32_t longest = limit_ - unscored_ + (forces_end() ? 1 : 0);
  return normalised(best, may_grow ? longest : counted_length()) > group.finished.back().score;
}

}  // namespace pytransformer::decode
