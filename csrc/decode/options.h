// What a caller may ask of a search. Lengths count tokens without the start and end token.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "nn/spec.h"

namespace pytransformer::decode {

// When a beam search may stop, as Hugging Face's `early_stopping` says.
enum class EarlyStopping : int32_t {
  heuristic = 0,  // false: no running beam beats the worst finished one at its present length
  full = 1,       // true: as soon as enough hypotheses are finished
  never = 2,      // "never": no running beam can beat it at any length up to the limit
};

// Whose beam search: which candidates of a step it looks at, and what else goes with that.
enum class BeamRule : int32_t {
  generate = 0,     // Hugging Face: enough that beam_size of them go on
  marian = 1,       // Marian: one for each beam; a finished hypothesis leaves with its beam
  ctranslate2 = 2,  // CTranslate2: two for each beam; finished ones are ranked at the end
};

// docs/decoding.md says what each option means. Those named as in CTranslate2 or in Hugging Face
// mean the same.
struct SearchOptions {
  bool encode = false;         // no search: the encoder's states, and what stands on them
  bool score_targets = false;  // no search: the log-probabilities of each request's target

  int32_t beam_size = 1;
  int32_t num_hypotheses = 1;
  float patience = 1.0f;
  float length_penalty = 1.0f;
  float coverage_penalty = 0.0f;
  float repetition_penalty = 1.0f;
  int32_t no_repeat_ngram_size = 0;
  bool renormalize_logits = false;  // what the rules leave is normalised again
  int32_t num_beam_groups = 1;
  float diversity_penalty = 0.0f;
  EarlyStopping early_stopping = EarlyStopping::heuristic;
  BeamRule beam_rule = BeamRule::generate;
  int32_t max_decoding_length = 256;
  int32_t min_decoding_length = 0;
  float max_length_factor = 0.0f;  // times the source's length with its end token; 0: no limit
  float prefix_bias_beta = 0.0f;
  bool return_alternatives = false;
  float min_alternative_expansion_prob = 0.0f;
  bool stop_loops = false;

  int32_t sampling_topk = 1;  // 0: all tokens
  float sampling_topp = 1.0f;
  float sampling_temperature = 1.0f;

  bool return_scores = false;
  bool return_end_token = false;
  bool return_attention = false;
  bool return_logits = false;
  bool stream = false;  // tell the caller of tokens as soon as nothing can change them
  int32_t attention_layer = 0;
  std::vector<int32_t> attention_heads;  // whose mean is returned; empty: all

  int32_t decoder_start_token_id = 0;  // -1: an embedding of zeros
  std::vector<int32_t> end_token_ids;
  int32_t forced_bos_token_id = -1;  // -1: none
  int32_t forced_end_token_id = -1;
  std::vector<int32_t> suppress_token_ids;
  std::vector<std::vector<int32_t>> suppress_sequences;

  int32_t max_batch_size = 64;
  bool batch_by_tokens = false;  // max_batch_size counts source tokens, not sentences

  bool samples() const { return sampling_topk != 1; }
  bool as_ctranslate2() const { return beam_rule == BeamRule::ctranslate2; }
  bool renormalises() const { return renormalize_logits || as_ctranslate2(); }
};

// One sentence and what is asked of it alone.
struct Request {
  // End token included. Where there is no encoder: what the decoder reads first.
  std::vector<int32_t> source;
  std::vector<int32_t> segments;  // the type of each source token; empty: the first for all
  std::vector<float> vectors;     // [length, vector_size], what an encoder may read in its place
  int64_t num_vectors = 0;
  std::vector<int32_t> target;  // a prefix of the translation, or what is to be scored
  std::vector<std::vector<int32_t>> force_phrases;
  // The same, but no token of `continuations`, which are in order, may follow at once.
  std::vector<std::vector<int32_t>> force_words;
  std::shared_ptr<const std::vector<int32_t>> continuations;
  // The only tokens that may be generated, in order; null for all of them.
  std::shared_ptr<const std::vector<int32_t>> allowed;
  uint64_t seed = 0;

  // Rows of the source, in the encoder or where there is none in the decoder.
  int64_t length() const {
    return source.empty() ? num_vectors : static_cast<int64_t>(source.size());
  }
};

// Throws std::invalid_argument that lists everything that is wrong.
void validate(const SearchOptions& options, const nn::ModelSpec& model);

// Throws std::invalid_argument that names request `index` and what is wrong with it.
void validate(const Request& request, size_t index, const SearchOptions& options,
              const nn::ModelSpec& model);

// Throws std::invalid_argument that begins with `what` unless `ids` are 1 to max_length ids of the
// stack's vocabulary.
void check_ids(const std::string& what, const std::vector<int32_t>& ids,
               const nn::StackSpec& stack);

}  // namespace pytransformer::decode
