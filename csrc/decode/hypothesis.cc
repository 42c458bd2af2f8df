// What becomes of a beam that ends.
#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>

#include "decode/history.h"
#include "decode/search.h"

namespace pytransformer::decode {

float Search::normalised(float score, int32_t length) const {
  return static_cast<float>(
      score / std::pow(static_cast<double>(length), static_cast<double>(options_.length_penalty)));
}

// How many finished hypotheses a group gathers (Kasai et al. 2022, "A Call for Clarity in Beam
// Search: How It Works and When It Stops").
size_t Search::capacity(int32_t beam_size) const {
  if (options_.beam_rule == BeamRule::marian) return static_cast<size_t>(beam_size);
  const double wanted =
      std::round(static_cast<double>(beam_size) * static_cast<double>(options_.patience));
  return static_cast<size_t>(std::clamp(wanted, 1.0, 1e9));
}

// The tokens that the beam has read, and their log-probabilities.
Hypothesis Search::read_tokens(const Beam& beam) const {
  Hypothesis hypothesis;
  hypothesis.ids.reserve(beam.path.size() + 1);
  for (size_t i = 1; i < beam.path.size(); ++i) {
    const Trellis::Node& node = trellis_.node(beam.path[i]);
    hypothesis.ids.push_back(node.token);
    if (i > static_cast<size_t>(unscored_)) hypothesis.log_probs.push_back(node.log_prob);
  }
  return hypothesis;
}

void Search::finish(Group& group, const Candidate& candidate) {
  const Beam& beam = group.beams[candidate.beam];
  const bool end = rules_.is_end(candidate.token);
  Hypothesis hypothesis = read_tokens(beam);
  if (!end) hypothesis.ids.push_back(candidate.token);
  hypothesis.log_probs.push_back(candidate.log_prob);
  hypothesis.reason = end ? FinishReason::end : FinishReason::length;
  if (ends_in_loop(hypothesis.ids)) hypothesis.reason = FinishReason::loop;
  if (end && options_.return_end_token) hypothesis.ids.push_back(candidate.token);
  hypothesis.score = normalised(candidate.score, counted_length()) + coverage(beam);
  add_records(hypothesis, beam);
  enter(group, std::move(hypothesis));
}

// For a beam whose last token the model has not read; FinishReason::end forces an end token.
void Search::finish(Group& group, const Beam& beam, FinishReason reason) {
  const bool forced = reason == FinishReason::end;
  Hypothesis hypothesis = read_tokens(beam);
  hypothesis.ids.push_back(beam.token);
  hypothesis.log_probs.push_back(beam.log_prob);
  hypothesis.reason = forced ? FinishReason::length : reason;
  if (ends_in_loop(hypothesis.ids)) hypothesis.reason = FinishReason::loop;
  if (forced) hypothesis.log_probs.push_back(0.0f);
  if (forced && options_.return_end_token) hypothesis.ids.push_back(options_.forced_end_token_id);
  hypothesis.score = normalised(beam.score, counted_length() + (forced ? 1 : 0)) + coverage(beam);
  add_records(hypothesis, beam);
  enter(group, std::move(hypothesis));
}

void Search::enter(Group& group, Hypothesis hypothesis) const {
  if (!needs_log_sum()) {
    hypothesis.score = 0;
    hypothesis.log_probs.clear();
  }
  Translation& finished = group.finished;
  const auto place = std::find_if(finished.begin(), finished.end(), [&](const Hypothesis& other) {
    return other.score < hypothesis.score;
  });
  finished.insert(place, std::move(hypothesis));
  // CTranslate2 chooses among all that were finished.
  if (!options_.as_ctranslate2() && finished.size() > capacity(group.beam_size))
    finished.pop_back();
}

// How much of the source the translation has looked at (Wu et al. 2016, "Google's Neural Machine
// Translation System", section 7).
float Search::coverage(const Beam& beam) const {
  if (!records_coverage()) return 0.0f;
  std::vector<float> attended(request_.source.size(), 0.0f);
  for (const int32_t slot : beam.path) {
    const std::vector<float>& coverage = trellis_.node(slot).coverage;
    for (size_t i = 0; i < attended.size(); ++i) attended[i] += coverage[i];
  }
  float total = 0;
  for (const float share : attended) {
    if (share > 0) total += std::log(std::min(share, 1.0f));
  }
  return options_.coverage_penalty * total;
}

// What there is of a translation that is stopped before the model was asked.
Hypothesis Search::nothing(size_t tokens) const {
  Hypothesis hypothesis;
  hypothesis.ids = forced_;
  hypothesis.ids.resize(std::min(tokens, forced_.size()));
  hypothesis.reason = FinishReason::stop;
  if (options_.return_attention) {
    hypothesis.attention.assign(hypothesis.ids.size() * request_.source.size(), 0.0f);
  }
  return hypothesis;
}

// Leaves the first `tokens` tokens, scored as if nothing followed them.
void Search::shorten(Hypothesis& hypothesis, size_t tokens) const {
  if (hypothesis.ids.size() <= tokens) return;
  const size_t scored = tokens - std::min(tokens, static_cast<size_t>(unscored_));
  hypothesis.ids.resize(tokens);
  hypothesis.log_probs.resize(std::min(hypothesis.log_probs.size(), scored));
  hypothesis.attention.resize(
      std::min(hypothesis.attention.size(), tokens * request_.source.size()));
  hypothesis.logits.resize(
      std::min(hypothesis.logits.size(), scored * static_cast<size_t>(decoder_.vocab_size)));
  hypothesis.reason = FinishReason::stop;
  const float sum = std::accumulate(hypothesis.log_probs.begin(), hypothesis.log_probs.end(), 0.0f);
  const int32_t counted = static_cast<int32_t>(tokens) - uncounted_;
  hypothesis.score = scored == 0 ? 0.0f : normalised(sum, counted);
}

// The step that gave a token is the one that read the token before it. A forced end token comes
// without a step: nothing is attended to, and nothing else is possible.
void Search::add_records(Hypothesis& hypothesis, const Beam& beam) const {
  const size_t steps = beam.path.size();
  if (options_.return_attention) {
    hypothesis.attention.assign(hypothesis.ids.size() * request_.source.size(), 0.0f);
    auto to = hypothesis.attention.begin();
    for (size_t i = 0; i < std::min(hypothesis.ids.size(), steps); ++i) {
      const std::vector<float>& attention = trellis_.node(beam.path[i]).attention;
      to = std::copy(attention.begin(), attention.end(), to);
    }
  }
  if (!options_.return_logits) return;
  const auto size = static_cast<size_t>(decoder_.vocab_size);
  hypothesis.logits.reserve(hypothesis.log_probs.size() * size);
  for (size_t i = 0; i < hypothesis.log_probs.size(); ++i) {
    const size_t step = i + static_cast<size_t>(unscored_);
    if (step < steps) {
      const std::vector<float>& logits = trellis_.node(beam.path[step]).logits;
      hypothesis.logits.insert(hypothesis.logits.end(), logits.begin(), logits.end());
    } else {
      std::vector<float> certain(size, -std::numeric_limits<float>::infinity());
      certain[static_cast<size_t>(options_.forced_end_token_id)] = 0.0f;
      hypothesis.logits.insert(hypothesis.logits.end(), certain.begin(), certain.end());
    }
  }
}

}  // namespace pytransformer::decode
