// The running batch of one worker: sentences enter when there is room and leave as soon as they are
// done, whatever the others do. Sentences of several jobs may run side by side. Those that are only
// encoded are done before the next step.
#pragma once

#include <memory>
#include <utility>
#include <vector>

#include "decode/job.h"
#include "decode/memory.h"
#include "decode/profile.h"
#include "decode/task.h"
#include "nn/decoder.h"
#include "nn/encoder.h"
#include "nn/encoder_head.h"

namespace pytransformer::decode {

// Rows of one pass of the encoder: enough for the matrix products to run at full speed, few enough
// that what lies between them stays in the cache. A longer source has a pass of its own.
inline constexpr int64_t kEncoderRows = 512;
// The same for what sentences read in their first step.
inline constexpr int64_t kFirstRows = 512;

// A sentence taken from a job.
struct Ticket {
  std::shared_ptr<Job> job;
  size_t index;
  Need need;  // nothing where memory has no limit
  const Request& request() const { return job->request(index); }
  bool only_encodes() const { return job->options().encode; }
};

class Batch {
 public:
  Batch(const nn::Model& model, nn::Team& team)
      : model_(model),
        kernels_(team.kernels()),
        encoder_(model, team),
        head_(model, team),
        decoder_(model, team) {}

  bool empty() const { return active_.empty(); }
  int64_t sentences() const { return static_cast<int64_t>(active_.size()); }
  int64_t source_tokens() const;
  Load load() const;

  // Encodes the sentences and lets them take part in the next step.
  void admit(std::vector<Ticket> tickets);
  // Decodes one token of every live hypothesis; drops what was cancelled.
  void step();
  // Hands over the translations that the last step finished.
  void deliver();
  // What was done since the last call, but for the seconds.
  Profile take_profile() { return std::exchange(profile_, {}); }
  // Hands the error to the jobs of all sentences and drops them.
  void fail(const std::exception_ptr& error);

 private:
  struct Active {
    Ticket ticket;
    std::unique_ptr<nn::CrossCache> cross;
    std::shared_ptr<const nn::Shortlist> shortlist;  // null for the whole vocabulary
    std::unique_ptr<Task> task;
    bool started = false;
  };

  struct Finished {
    Ticket ticket;
    Translation translation;
  };

  void start(std::span<Ticket> group);
  nn::Rows encode(std::span<const Ticket> group);
  nn::Rows encode_vectors(std::span<const Ticket> group);
  void finish_encoding(std::span<Ticket> group);
  std::shared_ptr<const nn::Shortlist> shortlist(const Request& request) const;
  void stop_and_drop();
  void drop();
  void choose();
  void gather();
  void count();
  void advance();
  void conclude(Active& active);
  static void fail(const Active& active);  // with the exception in flight
  static void tell(const Active& active);

  const nn::Model& model_;
  const kernels::Table& kernels_;
  nn::Encoder encoder_;
  nn::EncoderHead head_;
  nn::Decoder decoder_;
  std::vector<std::unique_ptr<Active>> active_;
  std::vector<Active*> stepping_;  // those that take part in the step in progress
  std::vector<Finished> finished_;
  nn::GrowingBuffer<float> vectors_;  // of one pass of the encoder, padded
  std::vector<nn::StepRow> rows_;
  std::vector<nn::StepSentence> sentences_;
  nn::StepOutput output_ = {};
  Profile profile_;
};

}  // namespace pytransformer::decode
