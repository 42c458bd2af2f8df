#include "decode/job.h"

#include <algorithm>
#include <numeric>
#include <utility>

namespace pytransformer::decode {

Job::Job(std::vector<std::vector<int32_t>> sources, SearchOptions options)
    : sources_(std::move(sources)),
      options_(std::move(options)),
      order_(sources_.size()),
      results_(sources_.size()),
      open_(sources_.size()) {
  std::iota(order_.begin(), order_.end(), size_t{0});
  std::stable_sort(order_.begin(), order_.end(),
                   [this](size_t a, size_t b) { return sources_[a].size() > sources_[b].size(); });
}

bool Job::wait(std::chrono::milliseconds time) {
  std::unique_lock lock(mutex_);
  return done_.wait_for(lock, time, [this] { return open_ == 0 || error_ != nullptr; });
}

std::vector<Translation> Job::take_result() {
  const std::scoped_lock lock(mutex_);
  if (error_ != nullptr) std::rethrow_exception(error_);
  return std::move(results_);
}

void Job::deliver(size_t index, Translation translation) {
  const std::scoped_lock lock(mutex_);
  results_[index] = std::move(translation);
  if (--open_ == 0) done_.notify_all();
}

void Job::fail(std::exception_ptr error) {
  failed_.store(true, std::memory_order_relaxed);
  const std::scoped_lock lock(mutex_);
  if (error_ == nullptr) error_ = std::move(error);
  done_.notify_all();
}

}  // namespace pytransformer::decode
