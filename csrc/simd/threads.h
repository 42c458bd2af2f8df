// How many threads are worth starting.
#pragma once

namespace pytransformer::simd {

// Cores that this process may use: its affinity mask, cut by the CPU quota of its container
// (cgroup v2 cpu.max or v1 cpu.cfs_quota_us); at least 1.
int available_threads();

}  // namespace pytransformer::simd
