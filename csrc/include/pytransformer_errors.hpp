// The errors of pytransformer.h as exceptions; a part of pytransformer.hpp.
#pragma once

#include <stdexcept>
#include <string>

#include "pytransformer.h"

namespace pytransformer {

// Base of all that pytransformer.hpp throws, but for what a callback throws, which comes through.
class Error : public std::runtime_error {
 public:
  Error(pytransformer_status status, const std::string& what)
      : std::runtime_error(what), status_(status) {}
  pytransformer_status status() const noexcept { return status_; }

 private:
  pytransformer_status status_;
};

class FileError : public Error {  // the system cannot open the file
  using Error::Error;
};
class CheckpointError : public Error {  // the model is damaged, or no native model file
  using Error::Error;
};
class UnsupportedModelError : public CheckpointError {  // sound, but not for this library
  using CheckpointError::CheckpointError;
};
class OptionError : public Error {  // options, tokens or languages that the model has not
  using Error::Error;
};
class InputLengthError : public OptionError {  // an input is longer than the model's positions
  using OptionError::OptionError;
};
class DecodingError : public Error {  // a search came to nothing, or numbers are not finite
  using Error::Error;
};
class MemoryLimitError : public Error {  // max_memory does not suffice, or the system has no more
  using Error::Error;
};
class CancelledError : public Error {  // a callback asked for the end
  using Error::Error;
};

namespace detail {

[[noreturn]] inline void raise(pytransformer_status status, const char* message) {
  switch (status) {
    case PYTRANSFORMER_ERROR_FILE:
      throw FileError(status, message);
    case PYTRANSFORMER_ERROR_CHECKPOINT:
      throw CheckpointError(status, message);
    case PYTRANSFORMER_ERROR_UNSUPPORTED:
      throw UnsupportedModelError(status, message);
    case PYTRANSFORMER_ERROR_OPTION:
      throw OptionError(status, message);
    case PYTRANSFORMER_ERROR_INPUT_LENGTH:
      throw InputLengthError(status, message);
    case PYTRANSFORMER_ERROR_DECODING:
      throw DecodingError(status, message);
    case PYTRANSFORMER_ERROR_MEMORY:
      throw MemoryLimitError(status, message);
    case PYTRANSFORMER_ERROR_CANCELLED:
      throw CancelledError(status, message);
    default:
      throw Error(status, message);
  }
}

// Calls `f`, which takes a pytransformer_error*, and throws what it reports.
template <typename F>
void call(const F& f) {
  pytransformer_error error = PYTRANSFORMER_ERROR_INIT;
  const pytransformer_status status = f(&error);
  if (status != PYTRANSFORMER_OK) raise(status, error.message);
}

}  // namespace detail
}  // namespace pytransformer
