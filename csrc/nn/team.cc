#include "nn/team.h"

#include <omp.h>
#include <sched.h>

namespace pytransformer::nn {
namespace {

// Long enough for the other thread to finish its slice, short enough not to starve a machine that
// has fewer free cores than the team has threads.
constexpr int kSpins = 4096;

inline void pause() {
#if defined(__x86_64__) || defined(__i386__)
  __builtin_ia32_pause();
#endif
}

}  // namespace

void Barrier::wait() {
  const uint32_t generation = generation_.load(std::memory_order_relaxed);
  if (arrived_.fetch_add(1, std::memory_order_acq_rel) + 1 == threads_) {
    arrived_.store(0, std::memory_order_relaxed);
    generation_.store(generation + 1, std::memory_order_release);
    return;
  }
  int spins = 0;
  while (generation_.load(std::memory_order_acquire) == generation) {
    if (++spins < kSpins) {
      pause();
    } else {
      sched_yield();
    }
  }
}

void Team::run_parallel(void (*body)(const void*, const Thread&), const void* context) {
#pragma omp parallel num_threads(threads_)
  {
    // OpenMP may grant fewer threads than asked for (OMP_THREAD_LIMIT, nesting). The slices then
    // follow the team that really came, and the master waits for nobody who is not there.
    const int count = omp_get_num_threads();
    const int index = omp_get_thread_num();
    StageClock* const clock = index == 0 ? &clock_ : nullptr;
    if (count == threads_) {
      body(context, Thread(kernels_, barrier_, clock, index, count));
    } else if (index == 0) {
      body(context, Thread(kernels_, barrier_, clock, 0, 1));
    }
  }
}

}  // namespace pytransformer::nn
