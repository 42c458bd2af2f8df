// The most that a search may ask for, whatever the model says.
#include <algorithm>

#include "decode/search.h"

namespace pytransformer::decode {
namespace {

using simd::allocated;
using simd::allocated_by_growth;
using simd::times;

constexpr auto kNumber = static_cast<int64_t>(sizeof(float));

template <typename Container>
int64_t count(const Container& container) {
  return static_cast<int64_t>(container.size());
}

}  // namespace

// Hypotheses may differ from their first free token on, and may all grow to the limit.
Search::Extent Search::extent() const {
  const bool independent = options_.beam_size == 1 && !options_.return_alternatives;
  Extent extent;
  extent.prefix = count(forced_) + 1;
  extent.longest = std::max<int64_t>(limit_, count(forced_)) + 1;
  extent.groups = independent || options_.return_alternatives ? options_.num_hypotheses
                                                              : options_.num_beam_groups;
  extent.beam_size = options_.return_alternatives || independent
                         ? options_.beam_size
                         : options_.beam_size / options_.num_beam_groups;
  // Each bank of the grid of phrases has beams of its own.
  extent.beams = extent.beam_size * (phrases_need_ + 1);
  extent.live = times(extent.groups, extent.beams);
  extent.source = count(request_.source);
  return extent;
}

TaskNeeds Search::needs() const {
  const Extent extent = this->extent();
  TaskNeeds needs;
  needs.first_rows = extent.prefix;
  needs.rows = extent.live;
  needs.positions = extent.longest;
  needs.candidates = most_candidates();
  needs.bytes = static_cast<int64_t>(sizeof(Search)) + trellis_bytes(extent) + beam_bytes(extent) +
                record_bytes(extent) + times(extent.groups, finished_bytes(extent));
  return needs;
}

int64_t Search::most_candidates() const {
  const int32_t first = options_.return_alternatives ? options_.num_hypotheses : 0;
  const auto each = static_cast<int32_t>(options_.end_token_ids.size()) + 2;
  return std::max({candidates_needed(), first, single_ ? 1 : each * options_.beam_size});
}

int64_t Search::trellis_bytes(const Extent& extent) const {
  const int64_t slots = extent.prefix + times(extent.live, extent.longest - extent.prefix + 1);
  int64_t records = 0;
  if (options_.return_attention) records += allocated(extent.source * kNumber);
  if (records_coverage()) records += allocated(extent.source * kNumber);
  if (options_.return_logits) records += allocated(decoder_.vocab_size * kNumber);
  return nn::SelfCache::bytes(decoder_, trellis_.cache_type(), slots) +
         allocated_by_growth(times(slots, sizeof(Trellis::Node))) + times(slots, records);
}

// How many tokens may be set aside in one row.
int64_t Search::most_aside(const Extent& extent) const {
  int64_t aside = count(options_.suppress_token_ids) + 2 * count(options_.end_token_ids) +
                  count(options_.suppress_sequences) + 2 * phrases_need_ + 1;
  if (options_.no_repeat_ngram_size > 0) aside += extent.longest;
  if (options_.repetition_penalty != 1.0f) aside += extent.longest;
  return aside;
}

// Live beams and those of the step before, and what competes to follow them.
int64_t Search::beam_bytes(const Extent& extent) const {
  constexpr auto kAside = static_cast<int64_t>(sizeof(AsideToken)) + 2 * kNumber;
  constexpr auto kBeam = static_cast<int64_t>(sizeof(Beam));
  constexpr auto kCandidate = static_cast<int64_t>(sizeof(Candidate) + sizeof(int32_t));
  const int64_t aside = most_aside(extent);
  const int64_t beams = 2 * extent.live + extent.groups + 1;
  const int64_t each = allocated(2 * extent.longest * kNumber) + 3 * allocated(kNumber) +
                       allocated(2 * aside * kAside) + allocated(phrases_need_ * kNumber);
  const int64_t candidates = times(extent.beams, most_candidates() + aside);
  const int64_t rows = std::max(extent.live, extent.prefix);
  return times(beams, each) + allocated_by_growth(times(beams, kBeam)) +
         allocated_by_growth(times(extent.groups, sizeof(Group))) +
         allocated_by_growth(times(candidates, kCandidate)) +
         allocated_by_growth(3 * aside * kNumber) + allocated_by_growth(4 * rows * kNumber) +
         8 * allocated_by_growth(extent.longest * kNumber) + 64 * phrases_need_ * kNumber;
}

// What rows leave besides the best candidates, and what is drawn from.
int64_t Search::record_bytes(const Extent& extent) const {
  int64_t bytes = 0;
  // Of tokens that are read in one go, at most the last two are asked what follows.
  if (options_.return_logits || draws_from_all()) {
    const int64_t rows = std::max<int64_t>(extent.live, 2);
    bytes += 2 * allocated(times(rows, decoder_.vocab_size, kNumber));
  }
  if (options_.samples()) {
    const int64_t drawn =
        draws_from_all() ? decoder_.vocab_size : most_candidates() + most_aside(extent);
    bytes += allocated_by_growth(drawn * 4 * kNumber);
  }
  if (records_attention()) {
    const int64_t layers =
        1 + (records_coverage() ? std::max(coverage_layer() - options_.attention_layer, 0) : 0);
    const int64_t rows = std::max(extent.live, extent.prefix);
    bytes += allocated_by_growth(times(layers, decoder_.num_heads, rows, extent.source, kNumber));
  }
  return bytes;
}

// Of one group.
int64_t Search::finished_bytes(const Extent& extent) const {
  const int64_t steps = extent.longest - extent.prefix + 1;
  // A beam that goes on alone ends once; of several, some may end in each step, and all in the
  // last.
  int64_t most = single_ ? 1 : times(extent.beam_size, steps) + extent.beams;
  const bool plain = options_.length_penalty == 0 && options_.coverage_penalty == 0;
  if (!options_.as_ctranslate2()) {
    most = std::min(most, static_cast<int64_t>(capacity(options_.beam_size)) + 1);
  } else if (!plain) {
    most = std::min(most, static_cast<int64_t>(capacity(options_.beam_size)) + 2 * extent.beams);
  }
  const int64_t tokens = extent.longest + 1;
  int64_t each = allocated(tokens * kNumber) + allocated(2 * tokens * kNumber);
  if (options_.return_attention) each += allocated(times(tokens, extent.source, kNumber));
  if (options_.return_logits) each += allocated(times(tokens, decoder_.vocab_size, kNumber));
  return times(most, each) + allocated_by_growth(times(most, sizeof(Hypothesis)));
}

}  // namespace pytransformer::decode
