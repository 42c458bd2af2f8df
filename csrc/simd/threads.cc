#include "simd/threads.h"

#include <sched.h>
#include <signal.h>

#include <algorithm>
#include <cfenv>
#include <cmath>
#include <exception>
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

}  // namespace

int available_threads() {
  const int cores = std::max(1, affinity_cores());
  const double quota = std::ceil(cgroup_quota());
  return quota < cores ? std::max(1, static_cast<int>(quota)) : cores;
}

int startable_threads(int most) {
  std::latch counted(1);
  std::vector<std::thread> threads;
  try {
    while (static_cast<int>(threads.size()) < most) {
      threads.emplace_back([&counted] { counted.wait(); });
    }
  } catch (const std::exception&) {
    // Those that there are.
  }
  counted.count_down();
  for (std::thread& thread : threads) thread.join();
  return static_cast<int>(threads.size());
}

std::thread start_thread(std::function<void()> body) {
  const SignalBlock block;  // inherited
  return std::thread([body = std::move(body)] {
    std::fesetenv(FE_DFL_ENV);
    body();
  });
}

}  // namespace pytransformer::simd
