// Errors on their way out: whatever goes wrong inside becomes a status and a message.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <stdexcept>
#include <string>
#include <string_view>

#include "pytransformer.h"

namespace pytransformer::embed {

// An error of this folder's own.
class Fault : public std::runtime_error {
 public:
  Fault(pytransformer_status status, const std::string& what)
      : std::runtime_error(what), status_(status) {}
  pytransformer_status status() const { return status_; }

 private:
  pytransformer_status status_;
};

// Writes to `error`, unless it is null, and returns the status.
pytransformer_status report(pytransformer_error* error, pytransformer_status status,
                            std::string_view message) noexcept;

// The same with the exception that is being handled.
pytransformer_status report_current(pytransformer_error* error) noexcept;

// Runs f; no exception passes.
template <typename F>
pytransformer_status guarded(pytransformer_error* error, const F& f) noexcept {
  try {
    f();
    return PYTRANSFORMER_OK;
  } catch (...) {
    return report_current(error);
  }
}

inline void require(bool holds, const std::string& what) {
  if (!holds) throw Fault(PYTRANSFORMER_ERROR_ARGUMENT, what);
}

// What a caller gives as a pointer and a number. Throws Fault that names it for NULL where there
// must be something, and for more than memory can hold.
template <typename T>
std::span<const T> span_of(const char* name, const T* data, size_t count) {
  require(data != nullptr || count == 0, std::string(name) + ": NULL, but the count is not 0");
  require(count <= PTRDIFF_MAX / sizeof(T),
          std::string(name) + ": a count of " + std::to_string(count) + " is no count");
  return {data, count};
}

}  // namespace pytransformer::embed
