#include "nn/team.h"

#include <omp.h>
#include <sched.h>

#include <algorithm>
#include <exception>

#include "simd/threads.h"

// A function of LLVM's OpenMP runtime, which some distributions put in the place of GNU's.
extern "C" [[gnu::weak]] void __kmpc_fork_call();

namespace pytransformer::nn {
namespace {

// What a follower is told: which order it is, its place in the team and how many take part. The
// first place is the master's, and says here that there is nothing to run.
constexpr int kBits = 10;
constexpr uint32_t kMask = (1u << kBits) - 1;
enum : int { kBeAwake, kRest, kEnd };

// Some two milliseconds: what may lie between two steps, before those who wait go to sleep.
constexpr int kSpins = 100000;
// Some 100 microseconds: to wake a thread takes a half of that where a core is free for it.
constexpr int kPatience = 5000;

// OpenMP would keep the threads for another region of this thread's, or end them some time behind
// its end, when the code that they run may be gone. LLVM's runtime cannot but end the threads of
// the whole process, other libraries' too.
void end_threads() {
  if (__kmpc_fork_call == nullptr) omp_pause_resource_all(omp_pause_hard);
}

}  // namespace

// What the master knows of another thread, and how they talk.
class alignas(64) Team::Follower {
 public:
  struct Order {
    int place;
    int count;
  };

  void tell(Order order) {
    ++orders_;
    gate_.open(orders_ << (2 * kBits) | static_cast<uint32_t>(order.place) << kBits |
               static_cast<uint32_t>(order.count));
  }

  // Waits for an order, awake for so many turns.
  Order next(int spins) {
    gate_.wait(seen_, spins);
    seen_ = gate_.word();
    return {static_cast<int>(seen_ >> kBits & kMask), static_cast<int>(seen_ & kMask)};
  }

  bool is_awake() const { return !gate_.has_sleepers(); }
  // Tells one who sleeps to be awake. Returns whether it had to.
  bool wake() {
    if (is_awake() || is_coming()) return false;
    woken_from_ = gate_.naps();
    tell({0, kBeAwake});
    return true;
  }
  void let_rest() {
    if (is_awake() || is_coming()) tell({0, kRest});
  }

 private:
  // Whether it was woken and is not there yet.
  bool is_coming() const { return gate_.naps() == woken_from_; }

  Gate gate_;
  uint32_t orders_ = 0;      // the master's, as the next one
  uint32_t woken_from_ = 0;  // the nap
  uint32_t seen_ = 0;        // the follower's
};

Team::Team(const kernels::Table& kernels, int threads) : kernels_(kernels), threads_(threads) {}

Team::~Team() = default;

void Team::lead(const std::function<void()>& work) {
  // OpenMP's runtime may end the process where it gets no thread.
  const int others = simd::startable_threads(std::min(threads_ - 1, static_cast<int>(kMask) - 1));
  for (int i = 0; i < others; ++i) followers_.push_back(std::make_unique<Follower>());
  if (followers_.empty()) {
    work();
  } else {
    open_region(work);
  }
}

void Team::open_region(const std::function<void()>& work) {
  gathered_.reserve(followers_.size());
  std::exception_ptr error;  // none may leave the region
  omp_set_dynamic(0);        // of this thread alone, whatever the process has
#pragma omp parallel num_threads(static_cast<int>(followers_.size()) + 1)
  if (const int index = omp_get_thread_num(); index != 0) {
    follow(*followers_[static_cast<size_t>(index) - 1]);
  } else {
    // OpenMP grants fewer where OMP_THREAD_LIMIT says so.
    active_ = static_cast<size_t>(omp_get_num_threads()) - 1;
    followers_.resize(active_);
    try {
      work();
    } catch (...) {
      error = std::current_exception();
    }
    for (const auto& follower : followers_) follower->tell({0, kEnd});
  }
  gathered_.clear();
  followers_.clear();
  end_threads();
  if (error) std::rethrow_exception(error);
}

// A thread's whole life.
void Team::follow(Follower& me) {
  int spins = kSpins;
  while (true) {
    const auto [place, count] = me.next(spins);
    spins = kSpins;
    if (place != 0) {
      take_part(place, count);
    } else if (count == kEnd) {
      return;
    } else if (count == kRest || ::sched_getcpu() == core_.load(std::memory_order_relaxed)) {
      // Where the master runs, it would be the one to wait; one who is woken again may be better
      // off.
      spins = 0;
    }
  }
}

void Team::call() {
  bool called = false;
  for (size_t i = 0; i < active_; ++i) called = followers_[i]->wake() || called;
  if (!called) return;
  core_.store(::sched_getcpu(), std::memory_order_relaxed);
  patience_ = kPatience;
}

void Team::rest() {
  for (const auto& follower : followers_) follower->let_rest();
}

void Team::gather() {
  if (active_ < followers_.size() && Clock::now() >= retry_at_) {
    active_ = std::min(followers_.size(), 2 * active_ + 1);
  }
  call();
  gathered_.clear();
  for (size_t i = 0; i < active_; ++i) {
    Follower* const follower = followers_[i].get();
    for (; patience_ > 0 && !follower->is_awake(); --patience_) pause();
    if (follower->is_awake()) gathered_.push_back(follower);
  }
  patience_ = 0;
}

// The threads are kept from running together if they slept a quarter of the time. Where that comes
// again soon, as beside threads that spin for their own next work, the retreats grow longer.
void Team::judge(Clock::time_point start, int count) {
  const Clock::duration slept = barrier_.take_slept();
  const Clock::time_point now = Clock::now();
  if (4 * slept < (now - start) * count) {
    together_ += now - start;
    return;
  }
  active_ /= 2;
  retry_at_ = now + retreat_;
  const bool is_lasting = together_ < kLastingShare * retreat_;
  retreat_ = is_lasting ? std::min<Clock::duration>(2 * retreat_, kLongestRetreat)
                        : Clock::duration(kShortestRetreat);
  together_ = {};
}

void Team::run_together(void (*body)(const void*, const Thread&), const void* context) {
  const Clock::time_point start = Clock::now();
  const int count = static_cast<int>(gathered_.size()) + 1;
  body_ = body;
  context_ = context;
  int place = 0;
  for (Follower* const follower : gathered_) follower->tell({++place, count});
  take_part(0, count);
  judge(start, count);
}

void Team::take_part(int place, int count) {
  body_(context_, Thread(kernels_, barrier_, place == 0 ? &clock_ : nullptr, place, count));
  barrier_.wait(count);
}

}  // namespace pytransformer::nn
