// One request: sentences to translate with the same options. Shared by the caller, who waits for it
// or cancels it, and the workers, who take sentences from it.
#pragma once

#include <atomic>
#include <chrono>
#include <condition_variable>
#include <cstdint>
#include <exception>
#include <mutex>
#include <vector>

#include "decode/options.h"

namespace pytransformer::decode {

class Job {
 public:
  // `sources`: token ids, end token included.
  Job(std::vector<std::vector<int32_t>> sources, SearchOptions options);

  const SearchOptions& options() const { return options_; }
  const std::vector<int32_t>& source(size_t index) const { return sources_[index]; }
  int64_t sentences() const { return static_cast<int64_t>(sources_.size()); }

  // Caller's side. wait() says whether the job has ended within the time given; result() then gives
  // one translation per source or rethrows what went wrong.
  bool wait(std::chrono::milliseconds time);
  void cancel() { cancelled_.store(true, std::memory_order_relaxed); }
  std::vector<Translation> take_result();

  // Workers' side. Sentences are handed out longest first, so that those that run together are of
  // like length and the short ones fill the gaps at the end. The queue guards next().
  bool has_next() const { return next_ < order_.size() && !ended(); }
  size_t peek() const { return order_[next_]; }
  size_t next() { return order_[next_++]; }
  bool cancelled() const { return cancelled_.load(std::memory_order_relaxed); }
  void deliver(size_t index, Translation translation);
  void fail(std::exception_ptr error);

 private:
  bool ended() const { return cancelled() || failed_.load(std::memory_order_relaxed); }

  const std::vector<std::vector<int32_t>> sources_;
  const SearchOptions options_;
  std::vector<size_t> order_;
  size_t next_ = 0;
  std::atomic<bool> cancelled_ = false;
  std::atomic<bool> failed_ = false;

  std::mutex mutex_;
  std::condition_variable done_;
  std::vector<Translation> results_;
  size_t open_;
  std::exception_ptr error_;
};

}  // namespace pytransformer::decode
