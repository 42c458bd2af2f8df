// Where threads wait for one another. Who waits spins for a while, since the others are near, and
// then sleeps: to yield would hand the core to whatever else runs there for a whole time slice, and
// to spin on would keep it from the program that the engine is a guest of.
#pragma once

#include <atomic>
#include <chrono>
#include <cstdint>

namespace pytransformer::nn {

// Lets the other thread of a core, or the core itself, go slower for some 20 nanoseconds.
void pause();

// A word, and threads that wait for it to change.
class Gate {
 public:
  using Clock = std::chrono::steady_clock;

  uint32_t word() const { return word_.load(std::memory_order_acquire); }
  // Everybody who waits for another word than the last goes on.
  void open(uint32_t word);
  // Waits until the word is not `seen`, awake for so many turns; returns how long it has slept.
  Clock::duration wait(uint32_t seen, int spins);
  // Whether anybody sleeps, and how often anybody has begun to.
  bool has_sleepers() const { return sleepers_.load(std::memory_order_relaxed) != 0; }
  uint32_t naps() const { return naps_.load(std::memory_order_relaxed); }

 private:
  void sleep(uint32_t seen);

  std::atomic<uint32_t> word_ = 0;
  std::atomic<int> sleepers_ = 0;
  std::atomic<uint32_t> naps_ = 0;
};

// Where the threads of a team meet.
class Barrier {
 public:
  using Clock = Gate::Clock;

  // Waits for so many threads, the caller among them.
  void wait(int threads);
  // How long threads have slept here since the last call, all of them together.
  Clock::duration take_slept() { return Clock::duration(slept_.exchange(0)); }

 private:
  std::atomic<Clock::rep> slept_ = 0;
  std::atomic<int> arrived_ = 0;
  Gate generation_;
};

}  // namespace pytransformer::nn
