// What the running batch does for one sentence: a search, or the scoring of a given target.
//
// A task is a state machine: it says which rows it wants decoded, and is given what the decoder
// says of each. It does not know of other sentences, so that they cannot change its result.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "decode/needs.h"
#include "decode/options.h"
#include "decode/results.h"
#include "nn/decoder.h"

namespace pytransformer::decode {

class Task {
 public:
  virtual ~Task() = default;

  // How many candidates a row needs, and whether the sum of all its logits is of use.
  virtual int32_t candidates_needed() const = 0;
  virtual bool needs_log_sum() const = 0;

  // Appends the rows of the next step; they point into this object until advance() is called.
  virtual void append_rows(std::vector<nn::StepRow>& rows) = 0;
  virtual nn::SelfCache& cache() = 0;
  // Where the step's attention goes; null if nobody wants it.
  virtual const nn::AttentionTap* attention() const { return nullptr; }

  // Takes what the decoder says of this task's rows, in their order. Throws std::domain_error if
  // the model gave numbers that are not finite.
  virtual void advance(std::span<const kernels::TopK> candidates,
                       std::span<const float> log_sums) = 0;

  virtual bool done() const = 0;
  // Valid once done.
  virtual Translation take_result() = 0;

  // Tokens that became certain since the last call.
  virtual std::vector<TokenEvent> take_events() { return {}; }
  // Ends the task with no more than `tokens` tokens.
  virtual void stop(int32_t tokens) { static_cast<void>(tokens); }

  // Of a task that has not begun.
  virtual TaskNeeds needs() const = 0;
};

struct TaskSetting {
  const SearchOptions& options;  // must outlive the task, as must the request
  const Request& request;
  const nn::ModelSpec& model;
  kernels::CacheType cache;
  const kernels::Table& kernels;
};

std::unique_ptr<Task> make_task(const TaskSetting& setting);

}  // namespace pytransformer::decode
