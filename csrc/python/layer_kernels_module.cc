// The kernels of layers as Python functions on arrays, for tests.
#include <pybind11/pybind11.h>
#include <pybind11/stl.h>

#include "python/bindings.h"
#include "python/layer_kernels.h"

namespace py = pybind11;

namespace pytransformer::python {

void bind_layer_kernels(py::module_& m) {
  py::class_<LayerKernels>(m, "LayerKernels")
      .def(py::init<const std::string&>(), py::arg("isa"))
      .def("layer_norm", &LayerKernels::layer_norm, py::arg("x"), py::arg("weight"),
           py::arg("bias"), py::arg("epsilon"), py::arg("kind") = "layer")
      .def("attention", &LayerKernels::attention, py::arg("query"), py::arg("key"),
           py::arg("value"), py::arg("scale"), py::arg("cache_type") = "float32",
           py::arg("weights").noconvert() = py::none(), py::arg("bias") = py::none())
      .def("attention_cached", &LayerKernels::attention_cached, py::arg("query"), py::arg("key"),
           py::arg("value"), py::arg("slots"), py::arg("scale"), py::arg("cache_type") = "float32",
           py::arg("weights").noconvert() = py::none(), py::arg("bias") = py::none())
      .def("distance_scores", &LayerKernels::distance_scores, py::arg("query"), py::arg("vectors"),
           py::arg("keys"), py::arg("position"), py::arg("scale"))
      .def("distance_values", &LayerKernels::distance_values, py::arg("weights"),
           py::arg("vectors"), py::arg("position"))
      .def("rotate", &LayerKernels::rotate, py::arg("x"), py::arg("cosines"), py::arg("sines"))
      .def("recur", &LayerKernels::recur, py::arg("input"), py::arg("forget"),
           py::arg("previous") = py::none())
      .def("running_mean", &LayerKernels::running_mean, py::arg("x"), py::arg("previous"),
           py::arg("steps"))
      .def("mix", &LayerKernels::mix, py::arg("gate"), py::arg("y"), py::arg("other_gate"),
           py::arg("other"));
}

}  // namespace pytransformer::python
