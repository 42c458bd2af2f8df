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

#include "decode/job.h"
#include "decode/profile.h"
#include "nn/model.h"
#include "simd/isa.h"

namespace pytransformer::decode {

class Batch;
struct Ticket;

class Engine {
 public:
  Engine(std::shared_ptr<const nn::Model> model, int inter_threads, int intra_threads,
         simd::Isa isa);
  // Cancels what is running and waits for the workers.
  ~Engine();
  Engine(const Engine&) = delete;
  Engine& operator=(const Engine&) = delete;

  const nn::Model& model() const { return *model_; }
  int inter_threads() const { return inter_threads_; }
  int intra_threads() const { return intra_threads_; }
  simd::Isa isa() const { return isa_; }

  // Starts to count from nothing; until then nothing is counted. A worker adds what it did at the
  // end of each step.
  void start_profile();
  Profile profile();

  // Checks the requests and options (std::invalid_argument) and queues them. Workers start with the
  // first job. May be called from several threads, and in a child of a process that has translated.
  std::shared_ptr<Job> submit(std::vector<Request> requests, SearchOptions options);

 private:
  // What the workers of one process share.
  struct Pool {
    std::mutex mutex;
    std::condition_variable wake;
    std::deque<std::shared_ptr<Job>> queue;
    std::vector<std::thread> workers;
    bool stop = false;
    pid_t process;
  };

  Pool& pool();
  void start_workers();
  void work(Pool& pool);
  void add_to_profile(Batch& batch, nn::StageClock& clock);
  bool take(Pool& pool, const Batch& batch, std::vector<Ticket>& tickets) const;
  bool has_room(const Job& job, int64_t sentences, int64_t tokens) const;

  const std::shared_ptr<const nn::Model> model_;
  const int inter_threads_;
  const int intra_threads_;
  const simd::Isa isa_;
  std::atomic<bool> profiling_ = false;
  std::mutex profile_mutex_;
  Profile profile_;
  std::mutex mutex_;  // guards pool_ itself
  std::unique_ptr<Pool> pool_;
};

}  // namespace pytransformer::decode
