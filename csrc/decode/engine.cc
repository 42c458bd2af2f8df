#include "decode/engine.h"

#include <unistd.h>

#include <algorithm>
#include <optional>
#include <stdexcept>
#include <string>
#include <utility>

#include "decode/batch.h"
#include "kernels/kernels.h"
#include "simd/threads.h"

namespace pytransformer::decode {
namespace {

// A running batch is topped up when this share of its room is free, so that the encoder gets
// several sentences at once instead of one after another.
constexpr int64_t kRefillShare = 4;

// Addresses have 48 bits.
constexpr int64_t kMostMemory = int64_t{1} << 48;

// What needs less memory.
std::string advice(const SearchOptions& options) {
  if (options.encode) return "a shorter input";
  if (options.score_targets) return "a shorter source or target";
  std::string text = "a shorter input or a lower max_decoding_length (" +
                     std::to_string(options.max_decoding_length) + ")";
  const int32_t beams = std::max(options.beam_size, options.num_hypotheses);
  if (beams > 1) text += " or beam_size or num_hypotheses (" + std::to_string(beams) + ")";
  if (options.return_logits) text += ", or to ask for no logits";
  return text;
}

std::exception_ptr closed_error() {
  return std::make_exception_ptr(std::runtime_error("the engine was closed"));
}

// The caller's share in a job. Where the last copy goes away the job ends, for nobody can ask for
// its result any more. A child of fork leaves its parent's jobs alone: a thread that it does not
// have may hold their locks.
std::shared_ptr<Job> callers_share(std::shared_ptr<Job> job) {
  Job* const shared = job.get();
  return {shared, [owned = std::move(job), process = ::getpid()](Job*) {
            if (process == ::getpid() && !owned->done()) owned->cancel();
          }};
}

}  // namespace

Engine::Engine(std::shared_ptr<const nn::Model> model, int inter_threads, int intra_threads,
               simd::Isa isa, int64_t max_memory)
    : model_(std::move(model)),
      inter_threads_(inter_threads),
      intra_threads_(intra_threads),
      isa_(isa),
      max_memory_(std::min(max_memory, kMostMemory)),
      bounds_(*model_, {kernels::table(isa), intra_threads}, inter_threads) {
  if (inter_threads < 1 || intra_threads < 1) {
    throw std::invalid_argument("inter_threads and intra_threads must be at least 1");
  }
  if (max_memory < 0) throw std::invalid_argument("max_memory is negative");
}

Engine::~Engine() {
  Pool* const pool = pool_.load();
  // In a child of fork, the threads exist in the parent only and can be neither joined nor
  // destroyed.
  if (pool == nullptr || pool->process != ::getpid()) return;
  const std::unique_ptr<Pool> owner(pool);
  {
    const std::scoped_lock lock(pool->mutex);
    pool->stop = true;
    for (const auto& job : pool->queue) job->fail(closed_error());
  }
  pool->wake.notify_all();
  for (std::thread& worker : pool->workers) worker.join();
}

// That of a parent is left alone for ever.
Engine::Pool& Engine::pool() {
  Pool* found = pool_.load();
  while (found == nullptr || found->process != ::getpid()) {
    const int64_t left = max_memory_ - bounds_.fixed();
    auto made = std::make_unique<Pool>(
        ::getpid(),
        Budget(bounds_, max_memory_ > 0 ? std::max<int64_t>(left, 1) : 0, inter_threads_));
    if (pool_.compare_exchange_strong(found, made.get())) return *made.release();
  }
  return *found;
}

// Where the system grants fewer threads than asked for, those that it does grant do all the work.
void Engine::start_workers(Pool& pool) {
  try {
    for (int i = 0; i < inter_threads_; ++i) {
      pool.workers.push_back(simd::start_thread([this, &pool] { work(pool); }));
    }
  } catch (const std::exception&) {
    if (pool.workers.empty()) throw;
  }
}

void Engine::start_profile() {
  Pool& shared = pool();
  const std::scoped_lock lock(shared.mutex);
  shared.profile = {};
  profiling_.store(true, std::memory_order_relaxed);
}

Profile Engine::profile() {
  Pool& shared = pool();
  const std::scoped_lock lock(shared.mutex);
  return shared.profile;
}

void Engine::add_to_profile(Pool& pool, Batch& batch, nn::StageClock& clock) {
  Profile done = batch.take_profile();
  if (!profiling_.load(std::memory_order_relaxed)) return;
  done.seconds = clock.take();
  const std::scoped_lock lock(pool.mutex);
  pool.profile.add(done);
}

std::shared_ptr<Job> Engine::submit(std::vector<Request> requests, SearchOptions options) {
  validate(options, model_->spec());
  for (size_t i = 0; i < requests.size(); ++i) {
    validate(requests[i], i, options, model_->spec());
  }
  std::vector<Need> needs = needs_of(requests, options);
  auto job = std::make_shared<Job>(std::move(requests), std::move(options), std::move(needs));
  if (job->sentences() == 0) return job;
  Pool& shared = pool();
  {
    const std::scoped_lock lock(shared.mutex);
    if (shared.workers.empty()) start_workers(shared);
    shared.queue.push_back(job);
  }
  shared.wake.notify_all();
  return callers_share(std::move(job));
}

bool Engine::has_room(const Job& job, int64_t sentences, int64_t tokens) const {
  if (sentences == 0) return true;
  const int64_t limit = job.options().max_batch_size;
  if (!job.options().batch_by_tokens) return sentences < limit;
  return tokens + job.request(job.peek()).length() <= limit;
}

// Whether a worker that runs nothing finds something to do.
bool Engine::can_begin(const Pool& pool, const Budget::Account& account) const {
  if (pool.queue.empty()) return false;
  const Job& job = *pool.queue.front();
  return !job.has_next() || pool.budget.admits(account, job.need(job.peek()));
}

// Moves sentences from the queue to `tickets` as far as the batch has room. The pool is locked.
// Returns whether the worker should go on: false when the engine stops.
bool Engine::take(Pool& pool, const Batch& batch, Budget::Account& account,
                  std::vector<Ticket>& tickets) const {
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
    while (job->has_next() && taken < share && has_room(*job, sentences, tokens) &&
           pool.budget.admit(account, job->need(job->peek()))) {
      const size_t index = job->next();
      tickets.push_back({job, index, job->need(index)});
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
  team.lead([&] { work(pool, team); });
}

void Engine::work(Pool& pool, nn::Team& team) {
  std::optional<Batch> batch(std::in_place, *model_, team);
  Budget::Account account;
  const auto has_work = [&] { return pool.stop || can_begin(pool, account); };
  while (true) {
    std::vector<Ticket> tickets;
    {
      std::unique_lock lock(pool.mutex);
      if (max_memory_ > 0 && pool.budget.settle(account, batch->load())) pool.wake.notify_all();
      if (batch->empty() && account.bytes > 0 && !has_work()) {
        // Others may need what the buffers of an idle worker take.
        batch.emplace(*model_, team);
        pool.budget.close(account);
        pool.wake.notify_all();
      }
      if (batch->empty() && !has_work()) {
        team.rest();
        pool.wake.wait(lock, has_work);
        team.call();
      }
      if (!take(pool, *batch, account, tickets)) break;
    }
    run(pool, *batch, team, std::move(tickets));
  }
  batch->fail(closed_error());
}

// One step, with those that have just come.
void Engine::run(Pool& pool, Batch& batch, nn::Team& team, std::vector<Ticket> tickets) {
  const std::vector<Ticket> admitted = tickets;
  team.clock().start(profiling_.load(std::memory_order_relaxed));
  try {
    if (!tickets.empty()) batch.admit(std::move(tickets));
    batch.step();
    // Before a caller can learn that its job is done.
    add_to_profile(pool, batch, team.clock());
    batch.deliver();
  } catch (...) {
    // Out of memory, most likely: everything that this worker holds fails, the worker goes on.
    const std::exception_ptr error = std::current_exception();
    batch.deliver();
    for (const Ticket& ticket : admitted) ticket.job->fail(error);
    batch.fail(error);
  }
}

std::vector<Need> Engine::needs_of(const std::vector<Request>& requests,
                                   const SearchOptions& options) const {
  std::vector<Need> needs;
  if (max_memory_ == 0) return needs;
  for (size_t i = 0; i < requests.size(); ++i) {
    needs.push_back(bounds_.need(requests[i], options));
    const int64_t bytes = bounds_.alone(needs.back());
    if (bytes <= max_memory_) continue;
    const std::string what = "source " + std::to_string(i) + " of " +
                             std::to_string(requests[i].length()) +
                             (requests[i].source.empty() ? " vectors" : " tokens");
    bounds_.refuse(what, bytes, max_memory_, advice(options));
  }
  return needs;
}

Engine::Hold Engine::hold(int64_t bytes) {
  if (max_memory_ == 0) return {nullptr, 0};
  const int64_t total = bounds_.fixed() + bytes;
  if (total > max_memory_) bounds_.refuse("this", total, max_memory_, "a shorter input");
  Pool& shared = pool();
  std::unique_lock lock(shared.mutex);
  shared.budget.begin_waiting();
  shared.wake.wait(lock, [&] { return shared.budget.fits(bytes); });
  shared.budget.end_waiting();
  shared.budget.reserve(bytes);
  lock.unlock();
  shared.wake.notify_all();
  return {&shared, bytes};
}

Engine::Hold::~Hold() {
  if (pool_ == nullptr) return;
  {
    const std::scoped_lock lock(pool_->mutex);
    pool_->budget.release(bytes_);
  }
  pool_->wake.notify_all();
}

}  // namespace pytransformer::decode
