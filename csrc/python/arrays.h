// NumPy arrays on their way into the kernels: checked, padded, aligned.
#pragma once

#include <pybind11/numpy.h>

#include <algorithm>
#include <cstdint>
#include <stdexcept>
#include <string>

#include "kernels/kernels.h"
#include "simd/aligned.h"

namespace pytransformer::python {

using Floats = pybind11::array_t<float, pybind11::array::c_style | pybind11::array::forcecast>;
using Ints = pybind11::array_t<int32_t, pybind11::array::c_style | pybind11::array::forcecast>;
using Buffer = simd::AlignedBuffer<float>;

inline void require(bool condition, const std::string& message) {
  if (!condition) throw std::invalid_argument(message);
}

inline void require_dimensions(const pybind11::array& x, pybind11::ssize_t dimensions,
                               const char* name) {
  require(x.ndim() == dimensions, std::string(name) + " must have " + std::to_string(dimensions) +
                                      " dimensions, not " + std::to_string(x.ndim()));
}

// A matrix [rows, columns] with rows kernels::padded(columns) apart, zero in the padding.
struct PaddedMatrix {
  explicit PaddedMatrix(const Floats& x, const char* name) {
    require_dimensions(x, 2, name);
    rows = x.shape(0);
    columns = x.shape(1);
    ld = kernels::padded(columns);
    data = Buffer::zeros(static_cast<size_t>(rows * ld));
    for (int64_t r = 0; r < rows; ++r) {
      std::copy_n(x.data() + r * columns, columns, data.data() + r * ld);
    }
  }

  Floats array() const {
    Floats result({rows, columns});
    for (int64_t r = 0; r < rows; ++r) {
      std::copy_n(data.data() + r * ld, columns, result.mutable_data() + r * columns);
    }
    return result;
  }

  int64_t rows, columns, ld;
  Buffer data;
};

inline Buffer padded_vector(const Floats& x, int64_t size, const char* name) {
  require_dimensions(x, 1, name);
  require(x.shape(0) == size, std::string(name) + " must have " + std::to_string(size) +
                                  " numbers, not " + std::to_string(x.shape(0)));
  Buffer result = Buffer::zeros(static_cast<size_t>(kernels::padded(size)));
  std::copy_n(x.data(), size, result.data());
  return result;
}

// NumPy aligns to 16 bytes, the engine to cache lines.
inline Buffer aligned_copy(const Floats& x) {
  Buffer copy(static_cast<size_t>(x.size()));
  std::copy_n(x.data(), x.size(), copy.data());
  return copy;
}

}  // namespace pytransformer::python
