#include "decode/search.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>

namespace pytransformer::decode {
namespace {

constexpr int32_t kMostDrawnFrom = 256;
constexpr float kInfinity = std::numeric_limits<float>::infinity();

// Most tokens of a translation. What is forced to be in it has room, whatever the source's length.
int32_t length_limit(const SearchOptions& options, size_t source, size_t forced, int32_t phrases) {
  if (options.max_length_factor <= 0) return options.max_decoding_length;
  const double wanted =
      std::ceil(static_cast<double>(options.max_length_factor) * static_cast<double>(source));
  const double least = static_cast<double>(forced) + std::max(1, phrases);
  return static_cast<int32_t>(
      std::min(std::max(wanted, least), static_cast<double>(options.max_decoding_length)));
}

}  // namespace

Search::Search(const TaskSetting& setting)
    : options_(setting.options),
      request_(setting.request),
      decoder_(setting.model.decoder),
      rules_(setting.options),
      phrases_(setting.request.force_phrases, setting.request.force_words,
               setting.request.continuations),
      phrases_need_(phrases_.need_at_start()),
      single_(setting.options.beam_size == 1 && phrases_.empty()),
      trellis_(setting.model.decoder, setting.cache),
      sampler_(setting.options, setting.kernels),
      all_heads_(static_cast<size_t>(setting.model.decoder.num_heads)) {
  const std::vector<int32_t>& prefix = request_.target;
  const bool biased = options_.prefix_bias_beta > 0;
  root_.token = options_.decoder_start_token_id;
  if (!setting.model.has_encoder()) {
    root_.token = request_.source.front();
    forced_.assign(request_.source.begin() + 1, request_.source.end());
    prompt_ = static_cast<int32_t>(forced_.size());
  }
  if (!prefix.empty() && !biased) {
    forced_.insert(forced_.end(), prefix.begin(), prefix.end());
    unscored_ = static_cast<int32_t>(forced_.size());
  } else {
    unscored_ = prompt_;
    if (options_.forced_bos_token_id >= 0) forced_.push_back(options_.forced_bos_token_id);
  }
  uncounted_ = options_.as_ctranslate2() ? prompt_ : unscored_;
  renormalises_ = options_.renormalises() && needs_log_sum();
  set_limits(setting.model);
  root_.follows_prefix = biased && forced_.size() < prefix.size() &&
                         std::equal(forced_.begin(), forced_.end(), prefix.begin());
  root_.phrases = phrases_.start();
  std::iota(all_heads_.begin(), all_heads_.end(), 0);
}

// Of hypotheses as the decoder reads them, with the prompt.
void Search::set_limits(const nn::ModelSpec& model) {
  limit_ = length_limit(options_, request_.source.size(), forced_.size(), phrases_need_);
  least_ = options_.min_decoding_length + prompt_;
  if (model.has_encoder()) return;
  const int64_t room = decoder_.positions.reach() - 1;
  limit_ = static_cast<int32_t>(std::min<int64_t>(options_.max_decoding_length + prompt_, room));
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

bool Search::records_coverage() const {
  return options_.coverage_penalty > 0 && decoder_.num_layers > 0;
}

// CTranslate2 looks at the layer and the heads whose attention it returns.
int32_t Search::coverage_layer() const {
  const auto last = static_cast<int32_t>(decoder_.num_layers - 1);
  return options_.as_ctranslate2() ? options_.attention_layer : last;
}

bool Search::records_attention() const {
  return records_coverage() || (options_.return_attention && decoder_.num_layers > 0);
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
  length_ = started_ ? length_ + 1 : static_cast<int32_t>(root_.path.size());
  if (!started_) {
    set_aside(root_);
  } else {
    for (Group& group : groups_) {
      for (Beam& beam : group.beams) set_aside(beam);
    }
  }
  prepare_records(std::span(rows).subspan(first));
}

// The start token and what is forced behind it follow each other in one step. The model need not
// read the last token if nothing may come behind it.
void Search::append_prefix(std::vector<nn::StepRow>& rows) {
  for (const int32_t token : forced_) {
    read_token(root_);
    root_.token = token;
    phrases_.advance(root_.phrases, token);
  }
  if (!all_forced()) read_token(root_);
  for (size_t i = 0; i < root_.path.size(); ++i) add_row(root_, i, rows);
  root_.row = row_slots_.size() - 1;
}

void Search::read_token(Beam& beam) {
  beam.slot = trellis_.append(beam.slot, beam.token, beam.log_prob);
  beam.path.push_back(beam.slot);
}

void Search::append_beam(Beam& beam, std::vector<nn::StepRow>& rows) {
  read_token(beam);
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
  // Of tokens that are read in one go, most have a successor that is given.
  silent_ = started_ ? 0 : rows.size() - 1;
  if (options_.return_logits) silent_ = std::min(silent_, static_cast<size_t>(unscored_));
  for (size_t i = 0; i < silent_; ++i) rows[i].is_silent = true;
  const auto point = [&](Beam& beam) {
    nn::StepRow& row = rows[beam.row];
    row.aside = beam.aside_ids;
    row.aside_logits = beam.aside_logits.data();
    row.excludes_aside = renormalises_;
  };
  if (!started_) point(root_);
  for (Group& group : groups_) {
    for (Beam& beam : group.beams) point(beam);
  }
  if (options_.return_logits || draws_from_all()) {
    const auto size = static_cast<size_t>(decoder_.vocab_size);
    row_logits_.assign((rows.size() - silent_) * size, -kInfinity);
    for (size_t i = silent_; i < rows.size(); ++i) rows[i].logits = logits_of(i);
  }
  if (!records_attention()) return;
  const int32_t covering = coverage_layer();
  tap_.first_layer = options_.return_attention ? options_.attention_layer : covering;
  tap_.layers = 1 + (records_coverage() ? covering - tap_.first_layer : 0);
  row_attention_.resize(static_cast<size_t>(tap_.layers * decoder_.num_heads) * rows.size() *
                        request_.source.size());
  tap_.cross = row_attention_.data();
}

// Moves what the step has left of each row to its place in the trellis.
void Search::keep_records(std::span<const float> log_sums) {
  if (options_.return_logits) {
    for (size_t row = silent_; row < row_slots_.size(); ++row) {
      std::vector<float>& logits = trellis_.node(row_slots_[row]).logits;
      logits.assign(logits_of(row), logits_of(row) + decoder_.vocab_size);
      for (float& logit : logits) logit -= log_sums[row];
    }
  }
  if (!records_attention()) return;
  const std::vector<int32_t>& heads =
      options_.attention_heads.empty() ? all_heads_ : options_.attention_heads;
  const std::vector<int32_t>& covering = options_.as_ctranslate2() ? heads : all_heads_;
  for (size_t row = 0; row < row_slots_.size(); ++row) {
    Trellis::Node& node = trellis_.node(row_slots_[row]);
    if (options_.return_attention) {
      keep_attention(options_.attention_layer, heads, row, node.attention);
    }
    if (records_coverage()) keep_attention(coverage_layer(), covering, row, node.coverage);
  }
}

void Search::keep_attention(int32_t layer, std::span<const int32_t> heads, size_t row,
                            std::vector<float>& mean) const {
  const size_t source = request_.source.size();
  const auto first =
      static_cast<int32_t>(layer - tap_.first_layer) * static_cast<int32_t>(decoder_.num_heads);
  const float share = 1.0f / static_cast<float>(heads.size());
  mean.assign(source, 0.0f);
  for (const int32_t head : heads) {
    const size_t place = static_cast<size_t>(first + head) * row_slots_.size() + row;
    const float* const weights = &row_attention_[place * source];
    for (size_t i = 0; i < source; ++i) mean[i] += share * weights[i];
  }
}

std::vector<int32_t> Search::history(const Beam& beam) const {
  std::vector<int32_t> tokens;
  tokens.reserve(beam.path.size() + 1);
  for (const int32_t slot : beam.path) tokens.push_back(trellis_.token(slot));
  return tokens;
}

void Search::advance(std::span<const kernels::TopK> candidates, std::span<const float> log_sums) {
  const StepResult result = {candidates, whole_sums(log_sums)};
  keep_records(result.log_sums);
  if (!started_ && all_forced()) {
    finish_forced();
  } else if (!started_ && options_.return_alternatives) {
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

// A group that begins at the root.
Group Search::make_group(int32_t beam_size, size_t index) {
  if (root_.slot >= 0) trellis_.hold(root_.slot);
  return {beam_size, {root_}, {}, Random(request_.seed, request_.source, index), false};
}

void Search::close(Group& group) {
  for (const Beam& beam : group.beams) trellis_.release(beam.slot);
  group.beams.clear();
  group.done = true;
}

void Search::start_groups() {
  const bool independent = options_.beam_size == 1 && !options_.return_alternatives;
  const int32_t count = independent ? options_.num_hypotheses : options_.num_beam_groups;
  for (int32_t i = 0; i < count; ++i) {
    const int32_t beam_size = independent ? 1 : options_.beam_size / count;
    groups_.push_back(make_group(beam_size, static_cast<size_t>(i)));
  }
  trellis_.release(root_.slot);
}

void Search::finish_forced() {
  start_groups();
  started_ = true;
  for (Group& group : groups_) {
    finish_at_limit(group);
    close(group);
  }
}

// Each of the best next tokens is the first of a search of its own.
void Search::start_alternatives(const StepResult& result) {
  const auto wanted = static_cast<size_t>(options_.num_hypotheses);
  Group all = make_group(options_.num_hypotheses, 0);
  collect(all, result);
  if (candidates_.size() > wanted) candidates_.resize(wanted);
  const float least = std::log(options_.min_alternative_expansion_prob);
  for (size_t i = 0; i < candidates_.size(); ++i) {
    if (i > 0 && candidates_[i].log_prob < least) continue;
    groups_.push_back(make_group(options_.beam_size, i));
    start_alternative(groups_.back(), candidates_[i]);
  }
  close(all);
  trellis_.release(root_.slot);
}

void Search::start_alternative(Group& group, const Candidate& candidate) {
  if (rules_.is_end(candidate.token) || (at_limit() && !forces_end())) {
    finish(group, candidate);
    close(group);
    return;
  }
  Beam& beam = group.beams.front();
  beam.token = candidate.token;
  beam.score = candidate.score;
  beam.log_prob = candidate.log_prob;
  phrases_.advance(beam.phrases, candidate.token);
  if (options_.stop_loops) stop_loops(group);
  if (at_limit()) finish_at_limit(group);
  if (at_limit() || group.beams.empty()) close(group);
}

}  // namespace pytransformer::decode
