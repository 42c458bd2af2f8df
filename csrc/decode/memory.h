// How much memory the sentences of an engine may take while they run: bounds that hold whatever the
// model says. docs/embedding.md says what counts.
#pragma once

#include <cstdint>
#include <stdexcept>
#include <string>
#include <vector>

#include "decode/needs.h"
#include "decode/options.h"
#include "nn/decoder.h"
#include "nn/model.h"
#include "nn/team.h"

namespace pytransformer::decode {

// What is asked for would not fit max_memory even alone; the message says what would lower it.
struct MemoryLimitError : std::runtime_error {
  using std::runtime_error::runtime_error;
};

// The largest passes of a worker, which decide how large its buffers grow.
struct Passes {
  int64_t encoder_rows = 0;
  int64_t source = 0;   // rows of the longest
  int64_t encoded = 0;  // sources of a pass that is not for a decoder
  nn::StepSizes step;

  // Makes each size at least that of the other.
  void include(const Passes& other);
};

// Sentences that run side by side.
class Load {
 public:
  void add(const Need& need);
  bool empty() const { return sentences_ == 0; }
  // What they hold themselves.
  int64_t bytes() const { return bytes_; }
  // The largest passes that they may come to.
  Passes passes() const;

 private:
  int64_t sentences_ = 0;
  int64_t encoded_ = 0;
  int64_t bytes_ = 0;
  int64_t sources_ = 0;  // rows of all of them
  int64_t longest_ = 0;
  int64_t rows_ = 0;
  int64_t first_rows_ = 0;  // of all first steps
  int64_t longest_first_ = 0;
  int64_t positions_ = 0;
  int64_t candidates_ = 0;
  std::vector<const void*> shortlists_;
};

class MemoryBounds {
 public:
  MemoryBounds(const nn::Model& model, nn::TeamSize team, int workers);

  // What is there without any sentence: threads, and tables that the model has computed.
  int64_t fixed() const { return fixed_; }
  Need need(const Request& request, const SearchOptions& options) const;
  // Of a worker's buffers.
  int64_t bytes(const Passes& passes) const;
  // All that a sentence needs that runs alone.
  int64_t alone(const Need& need) const;
  // Throws MemoryLimitError that says what needs so much, and what else would need less.
  [[noreturn]] void refuse(const std::string& what, int64_t bytes, int64_t limit,
                           const std::string& advice) const;

 private:
  int64_t encoding_bytes(const Request& request) const;

  const nn::Model& model_;
  const nn::TeamSize team_;
  const int64_t fixed_;
};

}  // namespace pytransformer::decode
