// The errors of tokenizers, as pytransformer/errors.py has them.
#pragma once

#include <stdexcept>

namespace pytransformer::text {

// Files of a tokenizer are broken, incomplete or contradict one another; the message names them.
class CheckpointError : public std::runtime_error {
 public:
  using std::runtime_error::runtime_error;
};

// The files are sound, but there is nothing in C++ that reads them.
class UnsupportedError : public std::runtime_error {
 public:
  using std::runtime_error::runtime_error;
};

// An argument of a call that this model cannot serve, for example an unknown language.
class OptionError : public std::runtime_error {
 public:
  using std::runtime_error::runtime_error;
};

}  // namespace pytransformer::text
