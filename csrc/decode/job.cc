#include "decode/job.h"

#include <algorithm>
#include <numeric>
#include <utility>

namespace pytransformer::decode {

Job::Job(std::vector<Request> requests, SearchOptions options, std::vector<Need> needs)
    : requests_(std::move(requests)),
      options_(std::move(options)),
      needs_(std::move(needs)),
      order_(requests_.size()),
      results_(requests_.size()),
      open_(requests_.size()) {
  std::iota(order_.begin(), order_.end(), size_t{0});
  std::stable_sort(order_.begin(), order_.end(), [this](size_t a, size_t b) {
    return requests_[a].length() > requests_[b].length();
  });
}

bool Job::wait(std::chrono::milliseconds time) {
  std::unique_lock lock(mutex_);
  return changed_.wait_for(lock, time, [this] { return open_ == 0 || error_ != nullptr; });
}

bool Job::done() {
  const std::scoped_lock lock(mutex_);
  return open_ == 0 || error_ != nullptr;
}

void Job::cancel() {
  cancelled_.store(true, std::memory_order_relaxed);
  fail(std::make_exception_ptr(Cancelled()));
}

std::vector<Translation> Job::take_result() {
  const std::scoped_lock lock(mutex_);
  if (error_ != nullptr) std::rethrow_exception(error_);
  return std::move(results_);
}

std::vector<TokenEvent> Job::wait_for_events(std::chrono::milliseconds time) {
  std::unique_lock lock(mutex_);
  changed_.wait_for(lock, time,
                    [this] { return open_ == 0 || error_ != nullptr || !events_.empty(); });
  return std::exchange(events_, {});
}

void Job::stop(size_t index, int32_t tokens) {
  const std::scoped_lock lock(mutex_);
  if (stops_.empty()) stops_.assign(requests_.size(), -1);
  stops_.at(index) = tokens;
  has_stops_.store(true, std::memory_order_relaxed);
}

int32_t Job::stops_after(size_t index) {
  if (!has_stops_.load(std::memory_order_relaxed)) return -1;
  const std::scoped_lock lock(mutex_);
  return stops_[index];
}

void Job::when_ended(std::function<void()> f) {
  std::unique_lock lock(mutex_);
  if (open_ > 0 && error_ == nullptr) {
    when_ended_.push_back(std::move(f));
    return;
  }
  lock.unlock();
  f();
}

void Job::end(std::unique_lock<std::mutex> lock) {
  changed_.notify_all();
  const std::vector<std::function<void()>> waiting = std::exchange(when_ended_, {});
  lock.unlock();
  for (const std::function<void()>& f : waiting) f();
}

void Job::deliver(size_t index, Translation translation) {
  std::unique_lock lock(mutex_);
  results_[index] = std::move(translation);
  if (--open_ == 0) end(std::move(lock));
}

void Job::fail(std::exception_ptr error) {
  failed_.store(true, std::memory_order_relaxed);
  std::unique_lock lock(mutex_);
  // What is complete stays so.
  if (error_ == nullptr && open_ > 0) error_ = std::move(error);
  end(std::move(lock));
}

void Job::tell(std::vector<TokenEvent> events) {
  const std::scoped_lock lock(mutex_);
  events_.insert(events_.end(), events.begin(), events.end());
  changed_.notify_all();
}

}  // namespace pytransformer::decode
