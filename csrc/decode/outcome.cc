// What a search gives: its result, and tokens that are certain before it ends.
#include <algorithm>
#include <stdexcept>

#include "decode/search.h"

namespace pytransformer::decode {

const Hypothesis* Search::best() const {
  const Hypothesis* best = nullptr;
  for (const Group& group : groups_) {
    if (group.finished.empty()) continue;
    if (best == nullptr || group.finished.front().score > best->score) {
      best = &group.finished.front();
    }
  }
  return best;
}

Translation Search::take_result() {
  Translation all = std::move(result_);
  for (Group& group : groups_) {
    // Each alternative is the best of its own search.
    if (options_.return_alternatives && group.finished.size() > 1) group.finished.resize(1);
    for (Hypothesis& hypothesis : group.finished) all.push_back(std::move(hypothesis));
  }
  if (all.empty()) {
    throw std::domain_error(
        "no translation keeps all that is asked for: the options forbid every token at some point");
  }
  std::stable_sort(all.begin(), all.end(),
                   [](const Hypothesis& a, const Hypothesis& b) { return a.score > b.score; });
  const auto wanted = static_cast<size_t>(options_.num_hypotheses);
  if (all.size() > wanted) all.resize(wanted);
  for (Hypothesis& hypothesis : all) {
    const auto prompt = std::min(static_cast<ptrdiff_t>(prompt_), std::ssize(hypothesis.ids));
    hypothesis.ids.erase(hypothesis.ids.begin(), hypothesis.ids.begin() + prompt);
  }
  return all;
}

// How many tokens all live beams and the best finished hypothesis have in common. What ends later
// is one of the former or of what grows from them.
int64_t Search::common_tokens() const {
  std::vector<int32_t> common;
  bool first = true;
  const auto unite = [&](std::span<const int32_t> tokens) {
    if (first) {
      common.assign(tokens.begin(), tokens.end());
    } else {
      const auto differ = std::mismatch(common.begin(), common.end(), tokens.begin(), tokens.end());
      common.erase(differ.first, common.end());
    }
    first = false;
  };
  for (const Group& group : groups_) {
    for (const Beam& beam : group.beams) {
      std::vector<int32_t> tokens = history(beam);
      tokens.push_back(beam.token);
      unite(std::span(tokens).subspan(1));
    }
  }
  if (const Hypothesis* const finished = best()) unite(finished->ids);
  return static_cast<int64_t>(common.size());
}

// Tokens and their log-probabilities come from the best hypothesis, or from any live beam: they
// agree on what is certain.
std::vector<TokenEvent> Search::take_events() {
  std::vector<TokenEvent> events;
  const auto certain = static_cast<int32_t>(common_tokens());
  told_ = std::max(told_, unscored_);
  if (certain <= told_) return events;
  const Hypothesis* const finished = best();
  std::vector<int32_t> tokens;
  std::vector<float> log_probs;
  if (done_ && finished != nullptr) {
    tokens = finished->ids;
    log_probs = finished->log_probs;
  } else {
    const auto live = std::find_if(groups_.begin(), groups_.end(),
                                   [](const Group& group) { return !group.beams.empty(); });
    const Beam& beam = live->beams.front();
    for (size_t i = 1; i < beam.path.size(); ++i) {
      tokens.push_back(trellis_.token(beam.path[i]));
      if (static_cast<int32_t>(i) > unscored_) {
        log_probs.push_back(trellis_.node(beam.path[i]).log_prob);
      }
    }
    tokens.push_back(beam.token);
    log_probs.push_back(beam.log_prob);
  }
  for (; told_ < certain; ++told_) {
    const auto place = static_cast<size_t>(told_);
    const auto scored = static_cast<size_t>(told_ - unscored_);
    const float log_prob = scored < log_probs.size() ? log_probs[scored] : 0.0f;
    events.push_back(
        {0, told_ - prompt_, tokens[place], log_prob, done_ && place + 1 == tokens.size()});
  }
  return events;
}

void Search::stop(int32_t tokens) {
  tokens += prompt_;
  for (Group& group : groups_) {
    if (!group.beams.empty()) finish(group, group.beams.front(), FinishReason::stop);
    close(group);
    for (Hypothesis& hypothesis : group.finished) {
      shorten(hypothesis, static_cast<size_t>(tokens));
    }
  }
  if (groups_.empty()) result_.push_back(nothing(static_cast<size_t>(tokens)));
  done_ = true;
}

}  // namespace pytransformer::decode
