// A live hypothesis, and the group of beams that compete with each other.
#pragma once

#include <cstdint>
#include <vector>

#include "decode/phrases.h"
#include "decode/results.h"
#include "decode/sampling.h"
#include "decode/token_rules.h"

namespace pytransformer::decode {

struct Beam {
  int32_t slot = -1;   // of the last token but `token`; -1 at the start
  int32_t token = 0;   // not yet decoded
  float score = 0;     // sum of what its tokens scored
  float log_prob = 0;  // of `token`, as the model gives it
  std::vector<int32_t> path;
  bool follows_prefix = false;  // it begins as the prefix to which the search is biased
  Phrases::Progress phrases;

  // Of the step in progress:
  size_t row = 0;  // among the sentence's rows
  std::vector<AsideToken> aside;
  std::vector<int32_t> aside_ids;
  std::vector<float> aside_logits;
  float others = 0;  // log-sum-exp of all logits but those, if scores are normalised again
};

// A possible next token of one beam.
struct Candidate {
  size_t beam;
  int32_t rank;  // among its beam's candidates
  int32_t token;
  int32_t need;    // of the phrases behind this token
  float key;       // by which candidates are compared
  float score;     // of the hypothesis with this token
  float log_prob;  // of the token, as the model gives it
};

// Beams that are searched together. Groups know of each other only by diversity_penalty.
struct Group {
  int32_t beam_size = 1;
  std::vector<Beam> beams;
  Translation finished;  // best first
  Random random;         // for sampling
  bool done = false;
  bool best_ended = false;  // the best candidate of a step was finished
};

}  // namespace pytransformer::decode
