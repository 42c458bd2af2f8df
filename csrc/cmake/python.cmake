# The extension modules of the Python package.
find_package(Python REQUIRED COMPONENTS Interpreter Development.Module)
find_package(pybind11 CONFIG REQUIRED)

function(pytransformer_install_module name)
  set(map "${CMAKE_CURRENT_SOURCE_DIR}/csrc/cmake/module.map")
  target_link_options(${name} PRIVATE "LINKER:--version-script=${map}")
  set_target_properties(${name} PROPERTIES LINK_DEPENDS "${map}")
  install(TARGETS ${name} DESTINATION pytransformer)
endfunction()

file(GLOB PYTRANSFORMER_PYTHON_SOURCES CONFIGURE_DEPENDS csrc/python/*.cc)
pybind11_add_module(_native NO_EXTRAS ${PYTRANSFORMER_PYTHON_SOURCES})
target_link_libraries(_native PRIVATE pytransformer_engine pytransformer_kernels)
pytransformer_install_module(_native)

# Modules in Cython: generated C++, which the engine's flags, with their warnings, are not for.
function(pytransformer_add_cython name)
  set(source "${CMAKE_CURRENT_SOURCE_DIR}/pytransformer/${name}.pyx")
  add_custom_command(
    OUTPUT ${name}.cc
    COMMAND Python::Interpreter -m cython --cplus "${source}"
      --output-file "${CMAKE_CURRENT_BINARY_DIR}/${name}.cc"
    DEPENDS "${source}" ${ARGN}
    VERBATIM)
  Python_add_library(${name} MODULE WITH_SOABI "${CMAKE_CURRENT_BINARY_DIR}/${name}.cc")
  pytransformer_install_module(${name})
endfunction()

# Tooling beside the engine: the estimation of lexical shortlists.
pytransformer_add_cython(_ibm1)

# What `cimport pytransformer` leads to.
pytransformer_add_cython(_embed "${CMAKE_CURRENT_SOURCE_DIR}/pytransformer/_embed.pxd")
target_include_directories(_embed PRIVATE
  "${CMAKE_CURRENT_SOURCE_DIR}/csrc" "${CMAKE_CURRENT_SOURCE_DIR}/csrc/include")
target_compile_features(_embed PRIVATE cxx_std_20)
install(DIRECTORY csrc/include/ DESTINATION pytransformer/include)
