// The floating-point environment of the thread at hand: rounding, and what becomes of denormals.
#pragma once

#include <cfenv>

namespace pytransformer::simd {

// Makes it the default one, and what it was again in the end, flags included. For work on a thread
// that is not ours: results must not depend on what its owner has set.
class DefaultFloatEnvironment {
 public:
  DefaultFloatEnvironment() {
    std::fegetenv(&before_);
    std::fesetenv(FE_DFL_ENV);
  }
  ~DefaultFloatEnvironment() { std::fesetenv(&before_); }
  DefaultFloatEnvironment(const DefaultFloatEnvironment&) = delete;
  DefaultFloatEnvironment& operator=(const DefaultFloatEnvironment&) = delete;

 private:
  std::fenv_t before_;
};

}  // namespace pytransformer::simd
