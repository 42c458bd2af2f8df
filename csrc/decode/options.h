// Options of one search and its results. Lengths count tokens without start and end token.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "nn/spec.h"

namespace pytransformer::decode {

// When a beam search may stop, as Hugging Face's `early_stopping` says.
enum class EarlyStopping : int32_t {
  heuristic = 0,  // false: no running beam beats the worst finished one at its present length
  full = 1,       // true: as soon as beam_size hypotheses are finished
  never = 2,      // "never": no running beam can beat it at any length up to the limit
};

struct SearchOptions {
  int32_t beam_size = 1;
  int32_t num_hypotheses = 1;
  float length_penalty = 1.0f;
  EarlyStopping early_stopping = EarlyStopping::heuristic;
  int32_t max_decoding_length = 256;
  int32_t min_decoding_length = 0;
  bool return_scores = false;
  int32_t decoder_start_token_id = 0;
  std::vector<int32_t> end_token_ids;
  int32_t forced_end_token_id = -1;  // -1: none
  std::vector<int32_t> suppress_token_ids;
  int32_t max_batch_size = 64;
  bool batch_by_tokens = false;  // max_batch_size counts source tokens, not sentences
};

struct Hypothesis {
  std::vector<int32_t> ids;
  float score = 0;  // sum of log-probabilities, end token included, over length^length_penalty
};

using Translation = std::vector<Hypothesis>;  // best first

// Throws std::invalid_argument that lists everything that is wrong.
void validate(const SearchOptions& options, const nn::StackSpec& decoder);

// Throws std::invalid_argument that begins with `what` unless `ids` are 1 to max_length ids of the
// stack's vocabulary.
void check_ids(const std::string& what, const std::vector<int32_t>& ids,
               const nn::StackSpec& stack);

}  // namespace pytransformer::decode
