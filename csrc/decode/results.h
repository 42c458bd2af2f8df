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

struct Hypothesis {
  std::vector<int32_t> ids;      // the end token only if asked for
  float score = 0;               // docs/decoding.md says how it follows from the log-probabilities
  std::vector<float> log_probs;  // of each token, the end token included, the prefix not
  FinishReason reason = FinishReason::end;
  std::vector<float> attention;  // [ids, source] if asked for
  std::vector<float> logits;     // [log_probs, vocab_size] if asked for: log-probabilities
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
