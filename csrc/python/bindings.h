// The parts of the extension module; each file binds what its name says.
#pragma once

#include <pybind11/pybind11.h>

namespace pytransformer::python {

void bind_layer_kernels(pybind11::module_& module);
void bind_kernels(pybind11::module_& module);
void bind_requests(pybind11::module_& module);
void bind_jobs(pybind11::module_& module);

}  // namespace pytransformer::python
