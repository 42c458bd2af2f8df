#include "decode/engine.h"

#include <unistd.h>

#include <algorithm>
#include <stdexcept>
#include <string>
#include <utility>

#include "decode/batch.h"
#include "kernels/kernels.h"

namespace pytransformer::decode {
namespace {

// A running batch is topped up when this share of its room is free, so that the encoder gets
// several sentences at once instead of one after another.
constexpr int64_t kRefillShare = 4;

std::exception_ptr closed_error() {
  return std::make_exception_ptr(std::runtime_error("the engine was closed"));
}

}  // namespace

Engine::Engine(std::shared_ptr<const nn::Model> model, int inter_threads, int intra_threads,
               simd::Isa isa)
    : model_(std::move(model)),
      inter_threads_(inter_threads),
      intra_threads_(intra_threads),
      isa_(isa) {
  if (inter_threads < 1 || intra_threads < 1) {
    throw std::invalid_argument("inter_threads and intra_threads must be at least 1");
  }
}

Engine::~Engine() {
  if (pool_ == nullptr) return;
  if (pool_->process != ::getpid()) {
    // A child of fork: the threads exist in the parent only and can be neither joined nor
    // destroyed.
    static_cast<void>(pool_.release());
    return;
  }
  {
    const std::scoped_lock lock(pool_->mutex);
    pool_->stop = true;
    for (const auto& job : pool_->queue) job->fail(closed_error());
  }
  pool_->wake.notify_all();
  for (std::thread& worker : pool_->workers) worker.join();
}

Engine::Pool& Engine::pool() {
  const std::scoped_lock lock(mutex_);
  if (pool_ != nullptr && pool_->process != ::getpid()) static_cast<void>(pool_.release());
  if (pool_ == nullptr) {
    pool_ = std::make_unique<Pool>();
    pool_->process = ::getpid();
    start_workers();
  }
  return *pool_;
}

// Where the system grants fewer threads than asked for, those that it does grant do all the work.
void Engine::start_workers() {
  try {
    for (int i = 0; i < inter_threads_; ++i) {
      pool_->workers.emplace_back([this, pool = pool_.get()] { work(*pool); });
    }
  } catch (const std::exception&) {
    if (!pool_->workers.empty()) return;
    pool_.reset();
    throw;
  }
}

void Engine::start_profile() {
  const std::scoped_lock lock(profile_mutex_);
  profile_ = {};
  profiling_.store(true, std::memory_order_relaxed);
}

Profile Engine::profile() {
  const std::scoped_lock lock(profile_mutex_);
  return profile_;
}

void Engine::add_to_profile(Batch& batch, nn::StageClock& clock) {
  Profile done = batch.take_profile();
  if (!profiling_.load(std::memory_order_relaxed)) return;
  done.seconds = clock.take();
  const std::scoped_lock lock(profile_mutex_);
  profile_.add(done);
}

std::shared_ptr<Job> Engine::submit(std::vector<Request> requests, SearchOptions options) {
  validate(options, model_->spec());
  for (size_t i = 0; i < requests.size(); ++i) {
    validate(requests[i], i, options, model_->spec());
  }
  auto job = std::make_shared<Job>(std::move(requests), std::move(options));
  if (job->sentences() == 0) return job;
  Pool& shared = pool();
  {
    const std::scoped_lock lock(shared.mutex);
    shared.queue.push_back(job);
  }
  shared.wake.notify_all();
  return job;
}

bool Engine::has_room(const Job& job, int64_t sentences, int64_t tokens) const {
  if (sentences == 0) return true;
  const int64_t limit = job.options().max_batch_size;
  if (!job.options().batch_by_tokens) return sentences < limit;
  return tokens + job.request(job.peek()).length() <= limit;
}

// Moves sentences from the queue to `tickets` as far as the batch has room. The pool is locked.
// Returns whether the worker should go on: false when the engine stops.
bool Engine::take(Pool& pool, const Batch& batch, std::vector<Ticket>& tickets) const {
  if (pool.stop) return false;
  int64_t sentences = batch.sentences();
  int64_t tokens = batch.source_tokens();
  while (!pool.queue.empty()) {
    const std::shared_ptr<Job> job = pool.queue.front();
    const SearchOptions& options = job->options();
    const int64_t used = options.batch_by_tokens ? tokens : sentences;
    if (tickets.empty() && !batch.empty() &&
        used >
            options.max_batch_size - std::max<int64_t>(1, options.max_batch_size / kRefillShare)) {
      break;
    }
    // Workers share a job evenly, even if one of them alone would have room for all of it.
    const int64_t share = (job->sentences() + inter_threads_ - 1) / inter_threads_;
    int64_t taken = 0;
    while (job->has_next() && taken < share && has_room(*job, sentences, tokens)) {
      const size_t index = job->next();
      tickets.push_back({job, index});
      tokens += job->request(index).length();
      ++sentences;
      ++taken;
    }
    if (job->has_next()) break;
    pool.queue.pop_front();
  }
  return true;
}

void Engine::work(Pool& pool) {
  nn::Team team(kernels::table(isa_), intra_threads_);
  Batch batch(*model_, team);
  while (true) {
    std::vector<Ticket> tickets;
    {
      std::unique_lock lock(pool.mutex);
      if (batch.empty()) pool.wake.wait(lock, [&] { return pool.stop || !pool.queue.empty(); });
      if (!take(pool, batch, tickets)) break;
    }
    const std::vector<Ticket> admitted = tickets;
    team.clock().start(profiling_.load(std::memory_order_relaxed));
    try {
      if (!tickets.empty()) batch.admit(std::move(tickets));
      batch.step();
      // Before a caller can learn that its job is done.
      add_to_profile(batch, team.clock());
      batch.deliver();
    } catch (...) {
      // Out of memory, most likely: everything that this worker holds fails, the worker goes on.
      const std::exception_ptr error = std::current_exception();
      batch.deliver();
      for (const Ticket& ticket : admitted) ticket.job->fail(error);
      batch.fail(error);
    }
  }
  batch.fail(closed_error());
}

}  // namespace pytransformer::decode
