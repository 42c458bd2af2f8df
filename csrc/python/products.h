// Both sides of a product in memory of their own, aligned as the engine's are.
#pragma once

#include <pybind11/numpy.h>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>

#include "kernels/kernels.h"
#include "python/arrays.h"

namespace pytransformer::python {

// A matrix of weights packed as in a native file (docs/native-format.md); its number format is told
// by the array's type: float32, uint16 (the bits of bfloat16), int8 or uint8 (int4). Aligned to
// cache lines, as the engine's are.
struct PackedWeights {
  PackedWeights(const pybind11::array& packed, const std::optional<pybind11::array>& scale_array,
                int64_t inputs)
      : k(inputs) {
    require(k > 0 && k % kernels::kLanes == 0, "k must be a positive multiple of 16");
    require(packed.ndim() >= 3, "packed must hold panels");
    const int64_t count = packed.shape(0);
    const int64_t groups = kernels::groups_of(k);
    panels.type = type_of(packed);
    int64_t lines = 0;
    int64_t bytes_of_scales = 0;
    switch (panels.type) {
      case kernels::ComputeType::float32:
        lines = k;
        break;
      case kernels::ComputeType::bfloat16:
        lines = k / 2;
        break;
      case kernels::ComputeType::int8:
        lines = k / 4;
        bytes_of_scales = kernels::kLineBytes;
        break;
      case kernels::ComputeType::int4:
        lines = groups * 4;
        bytes_of_scales = (groups + 1) / 2 * kernels::kLineBytes;
        break;
    }
    panels.panel_bytes = lines * kernels::kLineBytes;
    panels.scale_bytes = bytes_of_scales;
    outputs = count * kernels::kLanes;
    panels.data = copy(packed, count * panels.panel_bytes, data, "packed");
    if (bytes_of_scales > 0) {
      require(scale_array.has_value(), "integers need scales");
      panels.scales = copy(*scale_array, count * bytes_of_scales, scales, "scales");
    }
  }

  int64_t k;
  int64_t outputs;
  kernels::Panels panels = {};

 private:
  using Bytes = simd::AlignedBuffer<std::byte>;

  static kernels::ComputeType type_of(const pybind11::array& packed) {
    if (pybind11::isinstance<pybind11::array_t<float>>(packed)) {
      return kernels::ComputeType::float32;
    }
    if (pybind11::isinstance<pybind11::array_t<uint16_t>>(packed)) {
      return kernels::ComputeType::bfloat16;
    }
    if (pybind11::isinstance<pybind11::array_t<int8_t>>(packed)) return kernels::ComputeType::int8;
    require(pybind11::isinstance<pybind11::array_t<uint8_t>>(packed),
            "packed must be float32, uint16, int8 or uint8");
    return kernels::ComputeType::int4;
  }

  static const std::byte* copy(const pybind11::array& from, int64_t size, Bytes& to,
                               const char* name) {
    require((from.flags() & pybind11::array::c_style) != 0 && from.nbytes() == size,
            std::string(name) + " must be contiguous, of " + std::to_string(size) + " bytes");
    to.resize_discard(static_cast<size_t>(size));
    std::copy_n(static_cast<const std::byte*>(from.data()), size, to.data());
    return to.data();
  }

  Bytes data;
  Bytes scales;
};

// The left side of a product in memory of its own.
class OperandArray {
 public:
  OperandArray(int64_t m, int64_t k, kernels::ComputeType type)
      : m_(m),
        k_(k),
        type_(type),
        words_(static_cast<size_t>(m * kernels::words_of(type, k))),
        scales_(static_cast<size_t>(m)),
        sums_(static_cast<size_t>(m * kernels::groups_of(k))),
        tile_(static_cast<size_t>(kernels::kMaxTileRows * kernels::words_of(type, k))) {}

  // Converts and packs the rows of a, as the engine does before a product.
  kernels::Operand prepare(const kernels::Table& table, const float* a) {
    const bool packed = m_ > kernels::kMaxStreamRows;
    if (!packed && type_ == kernels::ComputeType::float32) {
      return {reinterpret_cast<const uint32_t*>(a), k_, nullptr, nullptr};
    }
    const int64_t ld = kernels::words_of(type_, k_);
    table.prepare_rows({.type = type_,
                        .m = m_,
                        .k = k_,
                        .x = a,
                        .ldx = k_,
                        .unit_begin = 0,
                        .unit_end = packed ? table.row_tiles(type_, m_) : m_,
                        .words = words_.data(),
                        .ld = ld,
                        .scales = scales_.data(),
                        .sums = sums_.data(),
                        .scratch = tile_.data()});
    return {words_.data(), ld, scales_.data(), sums_.data()};
  }

 private:
  int64_t m_;
  int64_t k_;
  kernels::ComputeType type_;
  simd::AlignedBuffer<uint32_t> words_;
  Buffer scales_;
  simd::AlignedBuffer<int32_t> sums_;
  simd::AlignedBuffer<uint32_t> tile_;
};

}  // namespace pytransformer::python
