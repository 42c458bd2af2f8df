// One call: sentences to translate with the same options. Shared by the caller, who waits for it or
// cancels it, and the workers, who take sentences from it.
#pragma once

#include <atomic>
#include <chrono>
#include <condition_variable>
#include <cstdint>
#include <exception>
#include <functional>
#include <memory>
#include <mutex>
#include <stdexcept>
#include <vector>

#include "decode/needs.h"
#include "decode/options.h"
#include "decode/results.h"

namespace pytransformer::decode {

struct Cancelled : std::runtime_error {
  Cancelled() : std::runtime_error("the translation was cancelled") {}
};

class Job {
 public:
  // `needs`: of each request; none where memory has no limit.
  Job(std::vector<Request> requests, SearchOptions options, std::vector<Need> needs);

  const SearchOptions& options() const { return options_; }
  const Request& request(size_t index) const { return requests_[index]; }
  Need need(size_t index) const { return needs_.empty() ? Need() : needs_[index]; }
  int64_t sentences() const { return static_cast<int64_t>(requests_.size()); }

  // Caller's side. wait() says whether the job has ended within the time given; result() then gives
  // one translation per request or rethrows what went wrong.
  bool wait(std::chrono::milliseconds time);
  bool done();
  // Ends the job; its result is then a Cancelled error.
  void cancel();
  std::vector<Translation> take_result();
  // Waits until there are events or the job has ended, and takes the events.
  std::vector<TokenEvent> wait_for_events(std::chrono::milliseconds time);
  // Asks for the end of one sentence, with no more than `tokens` tokens.
  void stop(size_t index, int32_t tokens);
  // Calls `f` once the job has ended, from a worker's thread or, if it has ended already, at once.
  void when_ended(std::function<void()> f);

  // Workers' side. Sentences are handed out longest first, so that those that run together are of
  // like length and the short ones fill the gaps at the end. The queue guards next().
  bool has_next() const { return next_ < order_.size() && !ended(); }
  size_t peek() const { return order_[next_]; }
  size_t next() { return order_[next_++]; }
  bool cancelled() const { return cancelled_.load(std::memory_order_relaxed); }
  void deliver(size_t index, Translation translation);
  void fail(std::exception_ptr error);
  void tell(std::vector<TokenEvent> events);
  // After how many tokens a sentence shall stop; -1 if it need not.
  int32_t stops_after(size_t index);

 private:
  bool ended() const { return cancelled() || failed_.load(std::memory_order_relaxed); }
  void end(std::unique_lock<std::mutex> lock);

  const std::vector<Request> requests_;
  const SearchOptions options_;
  const std::vector<Need> needs_;
  std::vector<size_t> order_;
  size_t next_ = 0;
  std::atomic<bool> cancelled_ = false;
  std::atomic<bool> failed_ = false;
  std::atomic<bool> has_stops_ = false;

  std::mutex mutex_;
  std::condition_variable changed_;
  std::vector<Translation> results_;
  size_t open_;
  std::exception_ptr error_;
  std::vector<TokenEvent> events_;
  std::vector<int32_t> stops_;  // by sentence; empty until one is asked for
  std::vector<std::function<void()>> when_ended_;
};

}  // namespace pytransformer::decode
