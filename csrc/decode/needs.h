// The most that a sentence may ask for, whatever the model says.
#pragma once

#include <cstdint>

namespace pytransformer::decode {

// Of its search or scoring.
struct TaskNeeds {
  int64_t bytes = 0;       // that it holds itself, with its cache and its result
  int64_t first_rows = 0;  // of its first step
  int64_t rows = 0;        // of each later one
  int64_t positions = 0;   // of the longest hypothesis
  int64_t candidates = 0;  // of a row
};

// All that it adds to a batch.
struct Need {
  int64_t bytes = 0;   // that it holds itself
  int64_t source = 0;  // rows in the encoder
  bool only_encodes = false;
  TaskNeeds task;
  const void* shortlist = nullptr;  // which; sentences share those that are the same
  int64_t shortlist_bytes = 0;
};

}  // namespace pytransformer::decode
