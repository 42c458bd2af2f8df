#include "simd/threads.h"

#include <pthread.h>
#include <sched.h>
#include <signal.h>

#include <algorithm>
#include <cfenv>
#include <cmath>
#include <fstream>
#include <latch>
#include <string>
#include <utility>
#include <vector>

namespace pytransformer::simd {
namespace {

int affinity_cores() {
  cpu_set_t set;
  CPU_ZERO(&set);
  if (sched_getaffinity(0, sizeof set, &set) == 0) return CPU_COUNT(&set);
  return static_cast<int>(std::thread::hardware_concurrency());  // more cores than cpu_set_t holds
}

// Cores' worth of time per period; infinite if there is no quota.
double cgroup_quota() {
  double quota = -1;
  double period = -1;
  std::string text;
  if (std::ifstream v2("/sys/fs/cgroup/cpu.max"); v2 >> text >> period) {
    if (text == "max") return INFINITY;
    quota = std::strtod(text.c_str(), nullptr);
  } else {
    std::ifstream("/sys/fs/cgroup/cpu/cpu.cfs_quota_us") >> quota;
    std::ifstream("/sys/fs/cgroup/cpu/cpu.cfs_period_us") >> period;
  }
  return quota > 0 && period > 0 ? quota / period : INFINITY;
}

// Blocks the calling thread's signals, but for those that it causes itself: how these end the
// process is the process's business.
class SignalBlock {
 public:
  SignalBlock() {
    sigset_t blocked;
    sigfillset(&blocked);
    for (const int own : {SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGTRAP, SIGSYS, SIGABRT}) {
      sigdelset(&blocked, own);
    }
    pthread_sigmask(SIG_SETMASK, &blocked, &before_);
  }
  ~SignalBlock() { pthread_sigmask(SIG_SETMASK, &before_, nullptr); }
  SignalBlock(const SignalBlock&) = delete;
  SignalBlock& operator=(const SignalBlock&) = delete;

 private:
  sigset_t before_;
};

// The life of a thread that only shows that it can be had. It must not touch the heap, as
// std::thread's does where it ends: malloc() reserves 64 MB of addresses for every thread that
// asks, and they would be missing where the process may have only so many.
void* wait_for(void* counted) {
  static_cast<std::latch*>(counted)->wait();
  return nullptr;
}

}  // namespace

int available_threads() {
  const int cores = std::max(1, affinity_cores());
  const double quota = std::ceil(cgroup_quota());
  return quota < cores ? std::max(1, static_cast<int>(quota)) : cores;
}

int startable_threads(int most) {
  std::latch counted(1);
  std::vector<pthread_t> threads(static_cast<size_t>(std::max(0, most)));
  size_t count = 0;
  while (count < threads.size() &&
         pthread_create(&threads[count], nullptr, &wait_for, &counted) == 0) {
    ++count;
  }
  counted.count_down();
  for (size_t i = 0; i < count; ++i) pthread_join(threads[i], nullptr);
  // Where there is an end to them, others need some too before ours are started.
  return static_cast<int>(count < threads.size() ? count / 2 : count);
}

std::thread start_thread(std::function<void()> body) {
  const SignalBlock block;  // inherited
  return std::thread([body = std::move(body)] {
    std::fesetenv(FE_DFL_ENV);
    body();
  });
}

}  // namespace pytransformer::simd
