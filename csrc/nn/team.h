// A team of threads that runs a whole encoder pass or decoder step in one OpenMP region: all
// threads execute the same layers, own fixed slices of the weights and meet at light barriers.
//
// The code between two barriers must not throw: everything is allocated before the region starts.
#pragma once

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstdint>

#include "kernels/kernels.h"
#include "nn/profile.h"

namespace pytransformer::nn {

struct Range {
  int64_t begin;
  int64_t end;
  int64_t size() const { return end - begin; }
};

// Where the threads of a team meet. Who comes early spins for a while, since the others are near,
// and then sleeps: to yield would hand the core to whatever else runs there for a whole time slice.
class Barrier {
 public:
  using Clock = std::chrono::steady_clock;

  // How many threads meet from now on; nobody may be waiting.
  void set_threads(int threads) { threads_ = threads; }
  void wait();
  // How long threads have slept here since the last call, all of them together.
  Clock::duration take_slept() { return Clock::duration(slept_.exchange(0)); }

 private:
  void sleep(uint32_t generation);
  void wake_all();

  int threads_ = 1;
  std::atomic<Clock::rep> slept_ = 0;
  std::atomic<int> arrived_ = 0;
  std::atomic<uint32_t> generation_ = 0;
  std::atomic<int> sleepers_ = 0;
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
    if (count_ > 1) barrier_.wait();
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
  Team(const kernels::Table& kernels, int threads)
      : kernels_(kernels), threads_(threads), active_(threads) {}
  // Ends the threads but the caller's.
  ~Team();
  Team(const Team&) = delete;
  Team& operator=(const Team&) = delete;

  int threads() const { return threads_; }
  const kernels::Table& kernels() const { return kernels_; }
  StageClock& clock() { return clock_; }

  // Runs body(Thread) on every thread of the team. The caller's thread is the team's master.
  template <typename Body>
  void run(const Body& body) {
    if (threads_ > 1) choose_active();
    if (active_ == 1) {
      body(Thread(kernels_, barrier_, &clock_, 0, 1));
      return;
    }
    run_parallel([](const void* context,
                    const Thread& thread) { (*static_cast<const Body*>(context))(thread); },
                 &body);
  }

 private:
  using Clock = Barrier::Clock;

  void choose_active();
  void judge(Clock::time_point start);
  void run_parallel(void (*body)(const void*, const Thread&), const void* context);

  static constexpr std::chrono::milliseconds kShortestRetreat{10};
  static constexpr std::chrono::milliseconds kLongestRetreat{1000};

  const kernels::Table& kernels_;
  const int threads_;
  int active_;  // threads that take part
  bool has_run_parallel_ = false;
  Clock::time_point retry_at_;
  Clock::duration retreat_ = kShortestRetreat;
  Barrier barrier_;
  StageClock clock_;
};

}  // namespace pytransformer::nn
