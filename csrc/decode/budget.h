// What the workers of an engine may take of max_memory. A sentence is let in when the most that it
// may ever need is free, so that none has to be stopped later. Whoever calls holds the lock that
// guards it.
#pragma once

#include <cstdint>

#include "decode/memory.h"

namespace pytransformer::decode {

class Budget {
 public:
  // What one worker has reserved.
  struct Account {
    Load load;      // for the sentences that it runs
    Passes passes;  // and for its buffers, which may have grown for such passes
    int64_t bytes = 0;
  };

  // `limit`: bytes for all workers; 0 for no limit, with which nothing is counted.
  Budget(const MemoryBounds& bounds, int64_t limit, int workers)
      : bounds_(bounds), limit_(limit), share_(limit / workers) {}

  // Whether there is room for one more sentence, and to reserve it.
  bool admits(const Account& account, const Need& need) const;
  bool admit(Account& account, const Need& need);
  // Some have left, those of `load` remain; true if something is free that was not.
  bool settle(Account& account, const Load& load);
  // The worker runs nothing and gives up its buffers.
  void close(Account& account);

  // For work elsewhere. While somebody waits to begin it, no sentence is let in.
  bool fits(int64_t bytes) const { return reserved_ + bytes <= limit_; }
  void reserve(int64_t bytes) { reserved_ += bytes; }
  void release(int64_t bytes) { reserved_ -= bytes; }
  void begin_waiting() { ++waiting_; }
  void end_waiting() { --waiting_; }

 private:
  Account with(const Account& account, const Need& need) const;
  bool allows(const Account& before, const Account& after) const;
  void set(Account& account, Account next);

  const MemoryBounds& bounds_;
  const int64_t limit_;
  const int64_t share_;  // of each worker
  int64_t reserved_ = 0;
  int waiting_ = 0;
};

}  // namespace pytransformer::decode
