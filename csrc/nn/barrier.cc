#include "nn/barrier.h"

#include <linux/futex.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <climits>

namespace pytransformer::nn {
namespace {

// Some 70 microseconds: more than what it takes to put a thread to sleep and to wake it.
constexpr int kSpins = 4000;

// A futex is a word of 32 bits, which an atomic one is on every system that has futexes.
static_assert(sizeof(std::atomic<uint32_t>) == sizeof(uint32_t));

}  // namespace

void pause() {
#if defined(__x86_64__) || defined(__i386__)
  __builtin_ia32_pause();
#elif defined(__aarch64__)
  __asm__ volatile("isb");
#endif
}

void Gate::open(uint32_t word) {
  // Sequentially consistent with the sleeper's count: either it sees the new word or it is seen
  // here.
  word_.store(word);
  if (sleepers_.load() == 0) return;
  ::syscall(SYS_futex, &word_, FUTEX_WAKE_PRIVATE, INT_MAX, nullptr, nullptr, 0);
}

Gate::Clock::duration Gate::wait(uint32_t seen, int spins) {
  Clock::duration slept(0);
  while (word() == seen) {
    if (spins > 0) {
      --spins;
      pause();
    } else {
      const Clock::time_point start = Clock::now();
      sleep(seen);
      slept += Clock::now() - start;
    }
  }
  return slept;
}

void Gate::sleep(uint32_t seen) {
  naps_.fetch_add(1, std::memory_order_relaxed);
  sleepers_.fetch_add(1);
  // Returns at once if the word has changed meanwhile.
  ::syscall(SYS_futex, &word_, FUTEX_WAIT_PRIVATE, seen, nullptr, nullptr, 0);
  sleepers_.fetch_sub(1);
}

void Barrier::wait(int threads) {
  const uint32_t generation = generation_.word();
  if (arrived_.fetch_add(1, std::memory_order_acq_rel) + 1 == threads) {
    arrived_.store(0, std::memory_order_relaxed);
    generation_.open(generation + 1);
    return;
  }
  const Clock::duration slept = generation_.wait(generation, kSpins);
  if (slept.count() != 0) slept_.fetch_add(slept.count(), std::memory_order_relaxed);
}

}  // namespace pytransformer::nn
