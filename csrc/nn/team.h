// A team of threads that runs whole encoder passes and decoder steps: all threads execute the same
// layers, own fixed slices of the weights and meet at light barriers.
//
// The code between two barriers must not throw: everything is allocated before.
#pragma once

#include <atomic>
#include <chrono>
#include <cstdint>
#include <functional>
#include <memory>
#include <vector>

#include "kernels/kernels.h"
#include "nn/barrier.h"
#include "nn/profile.h"

namespace pytransformer::nn {

struct Range {
  int64_t begin;
  int64_t end;
  int64_t size() const { return end - begin; }
};

// What one thread of a running team knows.
class Thread {
 public:
  // `clock`: null for all threads but the master.
  Thread(const kernels::Table& kernels, Barrier& barrier, StageClock* clock, int index, int count)
      : kernels_(kernels), barrier_(barrier), clock_(clock), index_(index), count_(count) {}

  const kernels::Table& kernels() const { return kernels_; }
  int index() const { return index_; }
  int count() const { return count_; }
  // Waits until all threads of the team are here.
  void meet() const {
    if (count_ > 1) barrier_.wait(count_);
  }
  // What follows counts as `stage`; returns the one before.
  Stage enter(Stage stage) const { return clock_ == nullptr ? stage : clock_->enter(stage); }
  // This thread's share of [0, total); the same for the same total, so that caches stay warm.
  Range slice(int64_t total) const {
    return {total * index_ / count_, total * (index_ + 1) / count_};
  }

 private:
  const kernels::Table& kernels_;
  Barrier& barrier_;
  StageClock* const clock_;
  const int index_;
  const int count_;
};

// What there is to know of a team before there is one.
struct TeamSize {
  const kernels::Table& kernels;
  int threads;
};

// Where other programs take the cores away, a thread that is not running holds up all others at
// every barrier, for whole time slices. The team then goes on with half of its threads, down to the
// master alone, and tries again after a while. Results do not depend on it.
class Team {
 public:
  // `threads`: at most.
  Team(const kernels::Table& kernels, int threads);
  ~Team();
  Team(const Team&) = delete;
  Team& operator=(const Team&) = delete;

  int threads() const { return threads_; }
  const kernels::Table& kernels() const { return kernels_; }
  StageClock& clock() { return clock_; }

  // Does `work` on the caller's thread, as the master of other threads that are there for what it
  // runs, and that end behind it. They are those of one OpenMP region around all of the work: in a
  // region for each run, the runtime would let them spin for milliseconds behind the last one, on
  // cores that the rest of the process may want.
  void lead(const std::function<void()>& work);

  // There will be something to run: wakes those who sleep, and does not wait for them.
  void call();
  // There will be nothing to run for a while: the others sleep at once.
  void rest();

  // Runs body(Thread) on every thread of the team that is awake; without `lead`, on the caller's
  // alone.
  template <typename Body>
  void run(const Body& body) {
    if (!followers_.empty()) gather();
    if (gathered_.empty()) {
      body(Thread(kernels_, barrier_, &clock_, 0, 1));
      return;
    }
    run_together([](const void* context,
                    const Thread& thread) { (*static_cast<const Body*>(context))(thread); },
                 &body);
  }

 private:
  using Clock = Barrier::Clock;
  class Follower;

  void open_region(const std::function<void()>& work);
  void follow(Follower& follower);
  void gather();
  void judge(Clock::time_point start, int count);
  void run_together(void (*body)(const void*, const Thread&), const void* context);
  void take_part(int place, int count);

  static constexpr std::chrono::milliseconds kShortestRetreat{10};
  static constexpr std::chrono::milliseconds kLongestRetreat{1000};
  static constexpr int kLastingShare = 8;

  const kernels::Table& kernels_;
  const int threads_;
  std::vector<std::unique_ptr<Follower>> followers_;  // all threads of the region but the master
  size_t active_ = 0;                                 // those of them that may take part
  std::vector<Follower*> gathered_;                   // those that do
  int patience_ = 0;                                  // turns to wait for those who were called
  std::atomic<int> core_ = -1;                        // the master's, when it called
  Clock::time_point retry_at_;
  Clock::duration retreat_ = kShortestRetreat;  // the next one
  Clock::duration together_{};                  // what has gone well since the last one
  Barrier barrier_;
  StageClock clock_;
  // What is run.
  void (*body_)(const void*, const Thread&) = nullptr;
  const void* context_ = nullptr;
};

}  // namespace pytransformer::nn
