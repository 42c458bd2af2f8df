// The kernels of one instruction set as Python functions on arrays, for tests and benchmarks.
#include <pybind11/numpy.h>
#include <pybind11/pybind11.h>
#include <pybind11/stl.h>

#include <algorithm>
#include <chrono>
#include <cstdint>
#include <limits>
#include <optional>
#include <stdexcept>
#include <string>
#include <tuple>
#include <vector>

#include "kernels/kernels.h"
#include "python/arrays.h"
#include "python/bindings.h"
#include "python/layer_kernels.h"
#include "python/products.h"
#include "simd/isa.h"

namespace py = pybind11;

namespace pytransformer::python {
namespace {

using kernels::padded;

kernels::Activation parse_activation(const std::string& name) {
  if (name == "none") return kernels::Activation::none;
  if (name == "relu") return kernels::Activation::relu;
  if (name == "gelu") return kernels::Activation::gelu;
  if (name == "gelu_tanh") return kernels::Activation::gelu_tanh;
  if (name == "gelu_sigmoid") return kernels::Activation::gelu_sigmoid;
  if (name == "silu") return kernels::Activation::silu;
  if (name == "tanh") return kernels::Activation::tanh;
  throw std::invalid_argument("unknown activation '" + name +
                              "'; known are none, relu, gelu, gelu_tanh, gelu_sigmoid, silu, tanh");
}

kernels::ComputeType parse_compute_type(const std::string& name) {
  if (name == "float32") return kernels::ComputeType::float32;
  if (name == "bfloat16") return kernels::ComputeType::bfloat16;
  if (name == "int8") return kernels::ComputeType::int8;
  if (name == "int4") return kernels::ComputeType::int4;
  throw std::invalid_argument("unknown compute type '" + name +
                              "'; known are float32, bfloat16, int8, int4");
}

class Kernels : public LayerKernels {
 public:
  using LayerKernels::LayerKernels;

  std::string isa() const { return std::string(simd::name(table_.isa)); }
  std::string compiled_isa() const { return table_.compiled_isa; }

  Floats exp(const Floats& x) const { return elementwise(x, table_.exp); }
  Floats tanh(const Floats& x) const { return elementwise(x, table_.tanh); }
  Floats erf(const Floats& x) const { return elementwise(x, table_.erf); }

  Floats activation(const std::string& name, const Floats& x) const {
    const kernels::Activation kind = parse_activation(name);
    return elementwise(x, [&](float* data, int64_t count) { table_.activate(kind, data, count); });
  }

  Floats softmax(const Floats& x) const {
    PaddedMatrix rows(x, "x");
    table_.softmax(rows.data.data(), rows.rows, rows.columns, rows.ld);
    return rows.array();
  }

  Floats gemm(const Floats& a, const py::array& packed, const std::optional<py::array>& scales,
              const std::optional<Floats>& bias, const std::optional<Floats>& residual,
              const std::string& activation) const {
    require_dimensions(a, 2, "a");
    const PackedWeights weights(packed, scales, a.shape(1));
    kernels::GemmArgs args = product(a, weights);
    args.activation = parse_activation(activation);
    if (bias) {
      require_dimensions(*bias, 1, "bias");
      require(bias->shape(0) == weights.outputs, "bias must have one number for each output");
      args.bias = bias->data();
    }
    if (residual) {
      require_dimensions(*residual, 2, "residual");
      require(residual->shape(0) == args.m && residual->shape(1) == weights.outputs,
              "residual must have the shape of the result");
      args.residual = residual->data();
      args.ldr = weights.outputs;
    }
    Floats result({args.m, weights.outputs});
    args.c = result.mutable_data();
    OperandArray operand(args.m, args.k, weights.panels.type);
    args.a = operand.prepare(table_, a.data());
    table_.gemm(args);
    return result;
  }

  // Seconds of each of `repeats` products, conversion and packing of A included.
  std::vector<double> gemm_seconds(const Floats& a, const py::array& packed,
                                   const std::optional<py::array>& scales, int64_t repeats) const {
    require_dimensions(a, 2, "a");
    const PackedWeights weights(packed, scales, a.shape(1));
    kernels::GemmArgs args = product(a, weights);
    const Buffer aligned_a = aligned_copy(a);
    Buffer c = Buffer::zeros(static_cast<size_t>(args.m * args.ldc));
    OperandArray operand(args.m, args.k, weights.panels.type);
    args.c = c.data();
    return seconds(repeats, [&] {
      args.a = operand.prepare(table_, aligned_a.data());
      table_.gemm(args);
    });
  }

  std::tuple<Ints, Floats, Floats> top_k(const Floats& logits, int32_t k) const {
    require_dimensions(logits, 2, "logits");
    const int64_t rows = logits.shape(0);
    const int64_t columns = logits.shape(1);
    require(k >= 1 && k <= columns, "k must lie between 1 and the number of columns");
    Ints ids({rows, static_cast<int64_t>(k)});
    Floats best({rows, static_cast<int64_t>(k)});
    Floats log_sums(rows);
    // NaN is never a candidate, so a row may have fewer than k.
    std::fill_n(ids.mutable_data(), rows * k, -1);
    std::fill_n(best.mutable_data(), rows * k, std::numeric_limits<float>::quiet_NaN());
    const int64_t tiles = (columns + kTopKTile - 1) / kTopKTile;
    std::vector<float> max(static_cast<size_t>(tiles)), sum(static_cast<size_t>(tiles));
    for (int64_t r = 0; r < rows; ++r) {
      kernels::TopK top = {best.mutable_data() + r * k, ids.mutable_data() + r * k, k, 0};
      for (int64_t t = 0; t < tiles; ++t) {
        const int64_t first = t * kTopKTile;
        const size_t tile = static_cast<size_t>(t);
        table_.reduce_logits(logits.data() + r * columns + first,
                             std::min(kTopKTile, columns - first), static_cast<int32_t>(first),
                             &max[tile], &sum[tile], &top);
      }
      log_sums.mutable_data()[r] = table_.log_sum_exp(max.data(), sum.data(), tiles);
    }
    return {ids, best, log_sums};
  }

  Floats embed(const Ints& ids, const py::array& packed, int64_t k, float scale,
               const std::optional<py::array>& scales,
               const std::optional<Floats>& positions) const {
    require_dimensions(ids, 1, "ids");
    const PackedWeights embedding(packed, scales, k);
    const int64_t rows = ids.shape(0);
    for (int64_t i = 0; i < rows; ++i) {
      require(ids.data()[i] >= 0 && ids.data()[i] < embedding.outputs,
              "ids must be rows of the embedding");
    }
    std::vector<int32_t> order(static_cast<size_t>(rows));
    if (positions) {
      require_dimensions(*positions, 2, "positions");
      require(positions->shape(0) >= rows && positions->shape(1) == k,
              "positions must have a row of k numbers for each id");
      for (size_t i = 0; i < order.size(); ++i) order[i] = static_cast<int32_t>(i);
    }
    Floats y({rows, k});
    table_.embed({.rows = rows,
                  .k = k,
                  .ids = ids.data(),
                  .embedding = embedding.panels,
                  .scale = scale,
                  .table = positions ? positions->data() : nullptr,
                  .positions = order.data(),
                  .y = y.mutable_data(),
                  .ldy = k});
    return y;
  }

  // 10^9 operations (multiplications and additions) per second of one core, at best.
  double peak_gops(const std::string& compute_type, int64_t rounds) const {
    require(rounds >= 1, "rounds must be at least 1");
    const kernels::ComputeType type = parse_compute_type(compute_type);
    const py::gil_scoped_release release;
    volatile float sink = 0;
    const std::vector<double> times =
        seconds(15, [&] { sink = sink + table_.probe_arithmetic(type, rounds); });
    return 1e-9 *
           static_cast<double>(kernels::kProbeProducts * table_.arithmetic_per_probe(type) *
                               rounds) /
           *std::min_element(times.begin(), times.end());
  }

  // 10^9 bytes per second that one core reads of `size_bytes` bytes, at best.
  double read_gbps(int64_t size_bytes) const {
    require(size_bytes >= 4096, "size_bytes must be at least 4096");
    const int64_t count = size_bytes / static_cast<int64_t>(sizeof(float));
    const Buffer x = Buffer::zeros(static_cast<size_t>(count));
    const int64_t passes = std::max<int64_t>(1, (int64_t{64} << 20) / size_bytes);
    const py::gil_scoped_release release;
    volatile float sink = 0;  // keeps the compiler from dropping what is only measured
    double best = std::numeric_limits<double>::infinity();
    for (const bool from_memory : {false, true}) {
      const std::vector<double> times = seconds(15, [&] {
        for (int64_t i = 0; i < passes; ++i) {
          sink = sink + table_.probe_reads(x.data(), count, from_memory);
        }
      });
      best = std::min(best, *std::min_element(times.begin(), times.end()));
    }
    return 1e-9 * static_cast<double>(passes * size_bytes) / best;
  }

 private:
  static constexpr int64_t kTopKTile = 256;

  template <typename F>
  static Floats elementwise(const Floats& x, F function) {
    Buffer data = Buffer::zeros(static_cast<size_t>(padded(x.size())));
    std::copy_n(x.data(), x.size(), data.data());
    function(data.data(), static_cast<int64_t>(data.size()));
    Floats result(std::vector<py::ssize_t>(x.shape(), x.shape() + x.ndim()));
    std::copy_n(data.data(), x.size(), result.mutable_data());
    return result;
  }

  template <typename F>
  static std::vector<double> seconds(int64_t repeats, F function) {
    std::vector<double> times;
    for (int64_t i = 0; i < repeats; ++i) {
      const auto start = std::chrono::steady_clock::now();
      function();
      const std::chrono::duration<double> taken = std::chrono::steady_clock::now() - start;
      times.push_back(taken.count());
    }
    return times;
  }

  static kernels::GemmArgs product(const Floats& a, const PackedWeights& weights) {
    kernels::GemmArgs args = {};
    args.m = a.shape(0);
    args.k = weights.k;
    args.panels = weights.outputs / kernels::kLanes;
    args.b = weights.panels;
    args.ldc = weights.outputs;
    return args;
  }
};

}  // namespace

void bind_kernels(py::module_& m) {
  m.def("supported_isas", [] {
    std::vector<std::string> names;
    for (const simd::Isa isa : simd::supported_isas()) names.emplace_back(simd::name(isa));
    return names;
  });
  m.def("active_isa", [] { return std::string(simd::name(simd::active_isa())); });

  py::class_<Kernels, LayerKernels>(m, "Kernels")
      .def(py::init<const std::string&>(), py::arg("isa"))
      .def_property_readonly("isa", &Kernels::isa)
      .def_property_readonly("compiled_isa", &Kernels::compiled_isa)
      .def("exp", &Kernels::exp, py::arg("x"))
      .def("tanh", &Kernels::tanh, py::arg("x"))
      .def("erf", &Kernels::erf, py::arg("x"))
      .def("activation", &Kernels::activation, py::arg("name"), py::arg("x"))
      .def("softmax", &Kernels::softmax, py::arg("x"))
      .def("gemm", &Kernels::gemm, py::arg("a"), py::arg("packed"), py::arg("scales") = py::none(),
           py::arg("bias") = py::none(), py::arg("residual") = py::none(),
           py::arg("activation") = "none")
      .def("gemm_seconds", &Kernels::gemm_seconds, py::arg("a"), py::arg("packed"),
           py::arg("scales"), py::arg("repeats"))
      .def("top_k", &Kernels::top_k, py::arg("logits"), py::arg("k"))
      .def("embed", &Kernels::embed, py::arg("ids"), py::arg("packed"), py::arg("k"),
           py::arg("scale"), py::arg("scales") = py::none(), py::arg("positions") = py::none())
      .def("peak_gops", &Kernels::peak_gops, py::arg("compute_type"), py::arg("rounds") = 100000)
      .def("read_gbps", &Kernels::read_gbps, py::arg("size_bytes"));
}

}  // namespace pytransformer::python
