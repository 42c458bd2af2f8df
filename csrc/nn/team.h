// A team of threads that runs a whole encoder pass or decoder step in one OpenMP region: all
// threads execute the same layers, own fixed slices of the weights and meet at light barriers.
//
// The code between two barriers must not throw: everything is allocated before the region starts.
#pragma once

#include <algorithm>
#include <atomic>
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
  explicit Barrier(int threads) : threads_(threads) {}
  void wait();

 private:
  void sleep(uint32_t generation);
  void wake_all();

  const int threads_;
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

class Team {
 public:
  Team(const kernels::Table& kernels, int threads)
      : kernels_(kernels), threads_(threads), barrier_(threads) {}

  int threads() const { return threads_; }
  const kernels::Table& kernels() const { return kernels_; }
  StageClock& clock() { return clock_; }

  // Runs body(Thread) on every thread of the team. The caller's thread is the team's master.
  template <typename Body>
  void run(const Body& body) {
    if (threads_ == 1) {
      body(Thread(kernels_, barrier_, &clock_, 0, 1));
      return;
    }
    run_parallel([](const void* context,
                    const Thread& thread) { (*static_cast<const Body*>(context))(thread); },
                 &body);
  }

 private:
  void run_parallel(void (*body)(const void*, const Thread&), const void* context);

  const kernels::Table& kernels_;
  const int threads_;
  Barrier barrier_;
  StageClock clock_;
};

}  // namespace pytransformer::nn
