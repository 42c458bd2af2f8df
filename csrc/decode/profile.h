// What the workers of an engine did while it was profiled.
#pragma once

#include <cstdint>

#include "nn/profile.h"

namespace pytransformer::decode {

struct Profile {
  nn::StageSeconds seconds = {};  // of the first thread of each worker

  int64_t encoder_passes = 0;
  int64_t encoder_rows = 0;             // source tokens
  int64_t encoder_attention_pairs = 0;  // sum of length^2
  int64_t steps = 0;
  int64_t step_rows = 0;
  // Keys that one layer attends to, summed over rows and steps; the last one over sentences and
  // steps, for all beams of a sentence read the same.
  int64_t self_attention_keys = 0;
  int64_t cross_attention_keys = 0;
  int64_t cross_attention_sentence_keys = 0;

  void add(const Profile& other) {
    for (size_t i = 0; i < seconds.size(); ++i) seconds[i] += other.seconds[i];
    encoder_passes += other.encoder_passes;
    encoder_rows += other.encoder_rows;
    encoder_attention_pairs += other.encoder_attention_pairs;
    steps += other.steps;
    step_rows += other.step_rows;
    self_attention_keys += other.self_attention_keys;
    cross_attention_keys += other.cross_attention_keys;
    cross_attention_sentence_keys += other.cross_attention_sentence_keys;
  }
};

}  // namespace pytransformer::decode
