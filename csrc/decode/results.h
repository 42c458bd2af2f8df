// What a search gives.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

namespace pytransformer::decode {

enum class FinishReason : int32_t {
  end,     // an end token came, or was forced
  length,  // the longest length was reached
  loop,    // the same tokens came again and again
  stop,    // the caller stopped it
};

// What an encoder makes of one source.
struct Encoding {
  size_t rows = 0;
  std::vector<float> states;  // [rows, d_model]
  std::vector<float> pooled;  // [pooler_size]; empty if the model has no pooler
  std::vector<float> logits;  // [labels]; empty if it has no classifier
};

struct Hypothesis {
  std::vector<int32_t> ids;      // the end token only if asked for
  float score = 0;               // docs/decoding.md says how it follows from the log-probabilities
  std::vector<float> log_probs;  // of each token, the end token included, the prefix not
  FinishReason reason = FinishReason::end;
  std::vector<float> attention;  // [ids, source] if asked for
  std::vector<float> logits;     // [log_probs, vocab_size] if asked for: log-probabilities
  Encoding encoding;             // of a job that only encodes, whose result has nothing else
};

using Translation = std::vector<Hypothesis>;  // best first

// A token that nothing can change any more.
struct TokenEvent {
  size_t sentence;
  int32_t step;   // its place in the translation
  int32_t token;  // -1 behind the last one
  float log_prob;
  bool last;
};

}  // namespace pytransformer::decode
