// What each file of this folder adds to the extension module.
#pragma once

#include <pybind11/pybind11.h>

namespace pytransformer::python {

// supported_isas, active_isa and the class Kernels.
void bind_kernels(pybind11::module_& m);

}  // namespace pytransformer::python
