#include "decode/search.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <stdexcept>

namespace pytransformer::decode {
namespace {

constexpr int32_t kMostDrawnFrom = 256;
constexpr float kInfinity = std::numeric_limits<float>::infinity();

// Most tokens of a translation. What must be in it has room, whatever the source's length.
int32_t length_limit(const SearchOptions& options, const Request& request, int32_t required) {
  if (options.max_length_factor <= 0) return options.max_decoding_length;
  const double wanted = std::ceil(static_cast<double>(options.max_length_factor) *
                                  static_cast<double>(request.source.size()));
  const double least = static_cast<double>(request.target.size()) + std::max(1, required);
  return static_cast<int32_t>(
      std::min(std::max(wanted, least), static_cast<double>(options.max_decoding_length)));
}

}  // namespace

Search::Search(const TaskSetting& setting)
    : options_(setting.options),
      request_(setting.request),
      decoder_(setting.decoder),
      rules_(setting.options),
      phrases_(setting.request.force_phrases),
      phrases_need_(phrases_.need_at_start()),
      single_(setting.options.beam_size == 1 && phrases_.empty()),
      trellis_(setting.decoder, setting.cache),
      limit_(length_limit(setting.options, setting.request, phrases_need_)) {
  const bool biased = options_.prefix_bias_beta > 0;
  if (!request_.target.empty() && !biased) {
    forced_ = request_.target;
    unscored_ = static_cast<int32_t>(forced_.size());
  } else if (options_.forced_bos_token_id >= 0) {
    forced_.push_back(options_.forced_bos_token_id);
  }
  root_.token = options_.decoder_start_token_id;
  root_.follows_prefix = biased && !request_.target.empty();
  root_.phrases = phrases_.start();
}

int32_t Search::candidates_needed() const {
  if (options_.samples()) return draws_from_all() ? 1 : options_.sampling_topk;
  if (options_.return_alternatives && !started_) return options_.num_hypotheses;
  const auto ends = static_cast<int32_t>(options_.end_token_ids.size());
  if (single_) return 1;
  const int32_t lowered = options_.diversity_penalty > 0 ? options_.beam_size : 0;
  return (1 + ends) * options_.beam_size + lowered;
}

bool Search::needs_log_sum() const {
  return options_.beam_size > 1 || options_.return_scores || options_.return_logits ||
         options_.num_hypotheses > 1 || options_.prefix_bias_beta > 0 || !phrases_.empty() ||
         options_.stream;
}

// Longer lists of candidates take longer than to look at all logits.
bool Search::draws_from_all() const {
  return options_.samples() &&
         (options_.sampling_topk == 0 || options_.sampling_topk > kMostDrawnFrom);
}

bool Search::records_attention() const {
  return options_.return_attention || options_.coverage_penalty > 0;
}

const nn::AttentionTap* Search::attention() const { return records_attention() ? &tap_ : nullptr; }

void Search::append_rows(std::vector<nn::StepRow>& rows) {
  const size_t first = rows.size();
  row_slots_.clear();
  if (!started_) {
    append_prefix(rows);
  } else {
    for (Group& group : groups_) {
      for (Beam& beam : group.beams) append_beam(beam, rows);
    }
  }
  length_ = started_ ? length_ + 1 : static_cast<int32_t>(forced_.size()) + 1;
  if (!started_) {
    set_aside(root_);
  } else {
    for (Group& group : groups_) {
      for (Beam& beam : group.beams) set_aside(beam);
    }
  }
  prepare_records(std::span(rows).subspan(first));
}

// The start token and what is forced behind it follow each other in one step.
void Search::append_prefix(std::vector<nn::StepRow>& rows) {
  for (const int32_t token : forced_) {
    root_.slot = trellis_.append(root_.slot, root_.token, 0.0f);
    root_.path.push_back(root_.slot);
    root_.token = token;
    phrases_.advance(root_.phrases, token);
  }
  root_.slot = trellis_.append(root_.slot, root_.token, 0.0f);
  root_.path.push_back(root_.slot);
  for (size_t i = 0; i < root_.path.size(); ++i) add_row(root_, i, rows);
  root_.row = row_slots_.size() - 1;
}

void Search::append_beam(Beam& beam, std::vector<nn::StepRow>& rows) {
  beam.slot = trellis_.append(beam.slot, beam.token, beam.log_prob);
  beam.path.push_back(beam.slot);
  beam.row = row_slots_.size();
  add_row(beam, beam.path.size() - 1, rows);
}

void Search::add_row(const Beam& beam, size_t position, std::vector<nn::StepRow>& rows) {
  nn::StepRow row = {};
  row.slot = beam.path[position];
  row.token = trellis_.token(row.slot);
  row.position = static_cast<int32_t>(position);
  row.path = beam.path.data();
  rows.push_back(row);
  row_slots_.push_back(row.slot);
}

// Points the rows to where they leave what is asked for besides the best candidates.
void Search::prepare_records(std::span<nn::StepRow> rows) {
  const auto point = [&](Beam& beam) {
    nn::StepRow& row = rows[beam.row];
    row.aside = beam.aside_ids;
    row.aside_logits = beam.aside_logits.data();
  };
  if (!started_) point(root_);
  for (Group& group : groups_) {
    for (Beam& beam : group.beams) point(beam);
  }
  if (options_.return_logits || draws_from_all()) {
    const auto size = static_cast<size_t>(decoder_.vocab_size);
    row_logits_.assign(rows.size() * size, -kInfinity);
    for (size_t i = 0; i < rows.size(); ++i) rows[i].logits = &row_logits_[i * size];
  }
  if (!records_attention()) return;
  row_attention_.resize(static_cast<size_t>(decoder_.num_heads) * rows.size() *
                        request_.source.size());
  tap_.first_layer = options_.attention_layer;
  tap_.layers = 1;
  tap_.cross = row_attention_.data();
}

// Moves what the step has left of each row to its place in the trellis.
void Search::keep_records(std::span<const float> log_sums) {
  if (options_.return_logits) {
    const auto size = static_cast<size_t>(decoder_.vocab_size);
    for (size_t row = 0; row < row_slots_.size(); ++row) {
      std::vector<float>& logits = trellis_.node(row_slots_[row]).logits;
      const auto first = row_logits_.begin() + static_cast<ptrdiff_t>(row * size);
      logits.assign(first, first + static_cast<ptrdiff_t>(size));
      for (float& logit : logits) logit -= log_sums[row];
    }
  }
  if (!records_attention()) return;
  std::vector<int32_t> heads = options_.attention_heads;
  if (heads.empty()) {
    for (int32_t head = 0; head < decoder_.num_heads; ++head) heads.push_back(head);
  }
  const size_t source = request_.source.size();
  const float share = 1.0f / static_cast<float>(heads.size());
  for (size_t row = 0; row < row_slots_.size(); ++row) {
    std::vector<float>& mean = trellis_.node(row_slots_[row]).attention;
    mean.assign(source, 0.0f);
    for (const int32_t head : heads) {
      const float* const weights =
          &row_attention_[(static_cast<size_t>(head) * row_slots_.size() + row) * source];
      for (size_t i = 0; i < source; ++i) mean[i] += share * weights[i];
    }
  }
}

std::vector<int32_t> Search::history(const Beam& beam) const {
  std::vector<int32_t> tokens;
  tokens.reserve(beam.path.size() + 1);
  for (const int32_t slot : beam.path) tokens.push_back(trellis_.token(slot));
  return tokens;
}

void Search::advance(std::span<const kernels::TopK> candidates, std::span<const float> log_sums) {
  keep_records(log_sums);
  const StepResult result = {candidates, log_sums};
  if (!started_ && options_.return_alternatives) {
    start_alternatives(result);
    started_ = true;
  } else {
    if (!started_) start_groups();
    started_ = true;
    chosen_by_groups_.clear();
    for (size_t i = 0; i < groups_.size(); ++i) {
      if (!groups_[i].done) advance_group(i, result);
    }
  }
  done_ = std::all_of(groups_.begin(), groups_.end(), [](const Group& g) { return g.done; });
}

void Search::start_groups() {
  const bool independent = options_.beam_size == 1;
  const int32_t count = independent ? options_.num_hypotheses : options_.num_beam_groups;
  for (int32_t i = 0; i < count; ++i) {
    groups_.push_back({independent ? 1 : options_.beam_size / count,
                       {root_},
                       {},
                       Random(request_.seed, request_.source, static_cast<uint64_t>(i)),
                       false});
    trellis_.hold(root_.slot);
  }
  trellis_.release(root_.slot);
}

// Each of the best next tokens is the first of a search of its own.
void Search::start_alternatives(const StepResult& result) {
  Group all = {options_.num_hypotheses, {root_}, {}, Random(0, {}, 0), false};
  collect(all, result);
  if (candidates_.empty()) throw std::domain_error("no token is allowed here");
  const auto wanted = static_cast<size_t>(options_.num_hypotheses);
  const float least = std::log(options_.min_alternative_expansion_prob);
  for (size_t i = 0; i < std::min(wanted, candidates_.size()); ++i) {
    const Candidate& candidate = candidates_[i];
    if (i > 0 && candidate.log_prob < least) break;
    Group group = {options_.beam_size, {root_}, {}, Random(0, {}, 0), false};
    trellis_.hold(root_.slot);
    if (at_limit() || rules_.is_end(candidate.token)) {
      finish(group, candidate);
      trellis_.release(root_.slot);
      group.beams.clear();
      group.done = true;
    } else {
      Beam& beam = group.beams.front();
      beam.token = candidate.token;
      beam.score = candidate.score;
      beam.log_prob = candidate.log_prob;
      phrases_.advance(beam.phrases, candidate.token);
    }
    groups_.push_back(std::move(group));
  }
  trellis_.release(root_.slot);
}

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
  const auto prefix = static_cast<int32_t>(forced_.size());
  told_ = std::max(told_, prefix);
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
    events.push_back({0, told_, tokens[place], log_prob, done_ && place + 1 == tokens.size()});
  }
  return events;
}

void Search::stop(int32_t tokens) {
  for (Group& group : groups_) {
    if (!group.beams.empty()) finish(group, group.beams.front(), FinishReason::stop);
    for (const Beam& beam : group.beams) trellis_.release(beam.slot);
    group.beams.clear();
    group.done = true;
  }
  for (Group& group : groups_) {
    for (Hypothesis& hypothesis : group.finished) {
      shorten(hypothesis, static_cast<size_t>(tokens));
    }
  }
  done_ = true;
}

}  // namespace pytransformer::decode
