#include "nn/team.h"

#include <linux/futex.h>
#include <omp.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <climits>

namespace pytransformer::nn {
namespace {

// Some 70 microseconds: more than what it takes to put a thread to sleep and to wake it.
constexpr int kSpins = 4000;

inline void pause() {
#if defined(__x86_64__) || defined(__i386__)
  __builtin_ia32_pause();
#elif defined(__aarch64__)
  __asm__ volatile("isb");
#endif
}

// A futex is a word of 32 bits, which an atomic one is on every system that has futexes.
static_assert(sizeof(std::atomic<uint32_t>) == sizeof(uint32_t));

}  // namespace

void Barrier::sleep(uint32_t generation) {
  sleepers_.fetch_add(1);
  // Returns at once if the generation has changed meanwhile.
  ::syscall(SYS_futex, &generation_, FUTEX_WAIT_PRIVATE, generation, nullptr, nullptr, 0);
  sleepers_.fetch_sub(1);
}

void Barrier::wake_all() {
  ::syscall(SYS_futex, &generation_, FUTEX_WAKE_PRIVATE, INT_MAX, nullptr, nullptr, 0);
}

void Barrier::wait() {
  const uint32_t generation = generation_.load(std::memory_order_relaxed);
  if (arrived_.fetch_add(1, std::memory_order_acq_rel) + 1 == threads_) {
    arrived_.store(0, std::memory_order_relaxed);
    // Sequentially consistent with the sleeper's count: either it sees the new generation or it is
    // seen here.
    generation_.store(generation + 1);
    if (sleepers_.load() != 0) wake_all();
    return;
  }
  for (int spins = 0; generation_.load(std::memory_order_acquire) == generation; ++spins) {
    if (spins < kSpins) {
      pause();
    } else {
      const Clock::time_point start = Clock::now();
      sleep(generation);
      slept_.fetch_add((Clock::now() - start).count(), std::memory_order_relaxed);
    }
  }
}

// OpenMP would keep the threads for the next region of the master's, or end them some time behind
// the master's own end, when the code that they run may be gone.
Team::~Team() {
  if (has_run_parallel_) omp_pause_resource_all(omp_pause_hard);
}

void Team::choose_active() {
  if (active_ < threads_ && Clock::now() >= retry_at_) active_ = std::min(threads_, 2 * active_);
}

// The threads are kept from running together if they slept a quarter of the time.
void Team::judge(Clock::time_point start) {
  const Clock::duration slept = barrier_.take_slept();
  const Clock::time_point now = Clock::now();
  if (4 * slept < (now - start) * active_) {
    if (active_ == threads_) retreat_ = kShortestRetreat;
    return;
  }
  active_ /= 2;
  retry_at_ = now + retreat_;
  retreat_ = std::min<Clock::duration>(2 * retreat_, kLongestRetreat);
}

void Team::run_parallel(void (*body)(const void*, const Thread&), const void* context) {
  barrier_.set_threads(active_);
  has_run_parallel_ = true;
  const Clock::time_point start = Clock::now();
#pragma omp parallel num_threads(active_)
  {
    // OpenMP may grant fewer threads than asked for (OMP_THREAD_LIMIT, nesting). The slices then
    // follow the team that really came, and the master waits for nobody who is not there.
    const int count = omp_get_num_threads();
    const int index = omp_get_thread_num();
    StageClock* const clock = index == 0 ? &clock_ : nullptr;
    if (count == active_) {
      body(context, Thread(kernels_, barrier_, clock, index, count));
    } else if (index == 0) {
      body(context, Thread(kernels_, barrier_, clock, 0, 1));
    }
  }
  judge(start);
}

}  // namespace pytransformer::nn
