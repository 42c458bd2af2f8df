// Workers that run searches over one model. Each worker is a thread of the engine's own, the master
// of its OpenMP team, so that a team never belongs to a caller's thread.
#pragma once

#include <sys/types.h>

#include <atomic>
#include <condition_variable>
#include <deque>
#include <memory>
#include <mutex>
#include <thread>
#include <vector>

#include "decode/budget.h"
#include "decode/job.h"
#include "decode/profile.h"
#include "nn/model.h"
#include "simd/isa.h"

namespace pytransformer::decode {

class Batch;
struct Ticket;

class Engine {
  struct Pool;

 public:
  // `max_memory`: bytes that work may take at any time, as docs/embedding.md counts them; 0 for no
  // limit.
  Engine(std::shared_ptr<const nn::Model> model, int inter_threads, int intra_threads,
         simd::Isa isa, int64_t max_memory = 0);
  // Cancels what is running and waits for the workers.
  ~Engine();
  Engine(const Engine&) = delete;
  Engine& operator=(const Engine&) = delete;

  const nn::Model& model() const { return *model_; }
  int inter_threads() const { return inter_threads_; }
  int intra_threads() const { return intra_threads_; }
  simd::Isa isa() const { return isa_; }
  int64_t max_memory() const { return max_memory_; }

  // Starts to count from nothing; until then nothing is counted. A worker adds what it did at the
  // end of each step.
  void start_profile();
  Profile profile();

  // Checks the requests and options (std::invalid_argument, MemoryLimitError) and queues them.
  // Workers start with the first job. May be called from several threads, and in a child of a
  // process that has translated. A job whose last pointer goes away before it has ended is
  // cancelled.
  std::shared_ptr<Job> submit(std::vector<Request> requests, SearchOptions options);

  // A part of max_memory for work on the caller's own thread.
  class Hold {
   public:
    ~Hold();
    Hold(const Hold&) = delete;
    Hold& operator=(const Hold&) = delete;

   private:
    friend class Engine;
    Hold(Pool* pool, int64_t bytes) : pool_(pool), bytes_(bytes) {}
    Pool* const pool_;  // null where memory has no limit
    const int64_t bytes_;
  };
  // Waits until the workers leave so much. Throws MemoryLimitError if they never can.
  Hold hold(int64_t bytes);

 private:
  // What the workers of one process share.
  struct Pool {
    Pool(pid_t owner, Budget whole) : process(owner), budget(whole) {}

    const pid_t process;
    std::mutex mutex;
    std::condition_variable wake;
    std::deque<std::shared_ptr<Job>> queue;
    std::vector<std::thread> workers;
    bool stop = false;
    Budget budget;
    Profile profile;
  };

  Pool& pool();
  void start_workers(Pool& pool);
  void work(Pool& pool);
  void work(Pool& pool, nn::Team& team);
  void run(Pool& pool, Batch& batch, nn::Team& team, std::vector<Ticket> tickets);
  void add_to_profile(Pool& pool, Batch& batch, nn::StageClock& clock);
  bool can_begin(const Pool& pool, const Budget::Account& account) const;
  bool take(Pool& pool, const Batch& batch, Budget::Account& account,
            std::vector<Ticket>& tickets) const;
  bool has_room(const Job& job, int64_t sentences, int64_t tokens) const;
  std::vector<Need> needs_of(const std::vector<Request>& requests,
                             const SearchOptions& options) const;

  const std::shared_ptr<const nn::Model> model_;
  const int inter_threads_;
  const int intra_threads_;
  const simd::Isa isa_;
  const int64_t max_memory_;
  const MemoryBounds bounds_;
  std::atomic<bool> profiling_ = false;
  // No lock guards it: one that another thread held when the process forked would never be free in
  // the child.
  std::atomic<Pool*> pool_ = nullptr;
};

}  // namespace pytransformer::decode
