// How many threads are worth starting, and how they are started in somebody else's process.
#pragma once

#include <functional>
#include <thread>

namespace pytransformer::simd {

// Cores that this process may use: its affinity mask, cut by the CPU quota of its container
// (cgroup v2 cpu.max or v1 cpu.cfs_quota_us); at least 1.
int available_threads();

// How many threads, up to `most`, may be started now beside those that there are: all, or half of
// those that the system grants where these are fewer. Starts them to see.
int startable_threads(int most);

// Starts a thread that the process's signal handlers are not run on, and that computes in the
// default floating-point environment, whatever that of the caller is. So do threads that it starts.
std::thread start_thread(std::function<void()> body);

}  // namespace pytransformer::simd
