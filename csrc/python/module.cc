// The border between Python and C++: models and engines. This folder alone knows Python.
#include <pybind11/numpy.h>
#include <pybind11/pybind11.h>
#include <pybind11/stl.h>

#include <algorithm>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <system_error>
#include <utility>

#include "decode/engine.h"
#include "decode/inspect.h"
#include "embed/table.h"
#include "python/bindings.h"
#include "simd/float_environment.h"
#include "simd/threads.h"

namespace py = pybind11;

namespace pytransformer::python {
namespace {

using decode::Engine;
using nn::Model;
using Ids = std::vector<int32_t>;
using Array = py::array_t<float>;

const char* compute_type(const Model& model) {
  switch (model.compute_type()) {
    case kernels::ComputeType::bfloat16:
      return "bfloat16";
    case kernels::ComputeType::int8:
      return "int8";
    case kernels::ComputeType::int4:
      return "int4";
    default:
      return "float32";
  }
}

std::shared_ptr<Model> open_model(const std::string& path) {
  const py::gil_scoped_release release;
  return std::make_shared<Model>(io::NativeFile::open(path));
}

std::shared_ptr<Model> model_from_buffer(const py::buffer& image, std::string name) {
  // The exported buffer keeps the Python object alive; its release needs the GIL.
  auto* const view = new py::buffer_info(image.request());
  const std::shared_ptr<const void> owner(view, [](const void* p) {
    const py::gil_scoped_acquire acquire;
    delete static_cast<const py::buffer_info*>(p);
  });
  if (view->itemsize != 1 || view->ndim != 1 || (view->size > 1 && view->strides[0] != 1)) {
    throw std::invalid_argument("image must be contiguous bytes");
  }
  const std::span<const std::byte> bytes(static_cast<const std::byte*>(view->ptr),
                                         static_cast<size_t>(view->size));
  return std::make_shared<Model>(io::NativeFile::from_memory(bytes, owner, std::move(name)));
}

py::bytes model_file(const Model& model, const std::string& tensor, int64_t length) {
  const io::TensorView* const view = model.file().find(tensor);
  if (view == nullptr || length < 0 || length > static_cast<int64_t>(view->content.size())) {
    model.file().fail("there is no tensor '" + tensor + "' of at least " + std::to_string(length) +
                      " bytes");
  }
  return py::bytes(reinterpret_cast<const char*>(view->content.data()),
                   static_cast<size_t>(length));
}

Array to_array(const std::vector<float>& values, size_t rows) {
  const auto count = static_cast<py::ssize_t>(rows);
  const auto columns = static_cast<py::ssize_t>(values.size() / rows);
  Array array({count, columns});
  std::copy(values.begin(), values.end(), array.mutable_data());
  return array;
}

// One source in a job of its own.
py::object encode(Engine& engine, Ids source) {
  decode::SearchOptions options;
  options.encode = true;
  decode::Request request;
  request.source = std::move(source);
  std::shared_ptr<decode::Job> job;
  {
    const py::gil_scoped_release release;
    job = engine.submit({std::move(request)}, std::move(options));
  }
  const py::list found = py::cast(job).attr("result")();
  return found[0][py::int_(0)].attr("states");
}

Array logits(Engine& engine, const Ids& source, const Ids& target) {
  std::vector<float> values;
  {
    const py::gil_scoped_release release;
    values = decode::forced_logits(engine, source, target);
  }
  return to_array(values, target.size());
}

Array to_maps(const std::vector<float>& values, const nn::StackSpec& stack, size_t queries,
              size_t keys) {
  Array array(
      {static_cast<size_t>(stack.num_layers), static_cast<size_t>(stack.num_heads), queries, keys});
  std::copy(values.begin(), values.end(), array.mutable_data());
  return array;
}

py::tuple attention(Engine& engine, const Ids& source, const Ids& target) {
  decode::Attention maps;
  {
    const py::gil_scoped_release release;
    maps = decode::forced_attention(engine, source, target);
  }
  const nn::ModelSpec& spec = engine.model().spec();
  return py::make_tuple(to_maps(maps.encoder, spec.encoder, source.size(), source.size()),
                        to_maps(maps.decoder, spec.decoder, target.size(), target.size()),
                        to_maps(maps.cross, spec.decoder, target.size(), source.size()));
}

void register_errors() {
  py::register_exception_translator([](std::exception_ptr error) {
    try {
      if (error) std::rethrow_exception(error);
    } catch (const io::FormatError& e) {
      // A damaged file's names need not be UTF-8.
      const std::string_view what = e.what();
      const auto text = py::reinterpret_steal<py::object>(PyUnicode_DecodeUTF8(
          what.data(), static_cast<py::ssize_t>(what.size()), "backslashreplace"));
      PyErr_SetObject(PyExc_ValueError, text.ptr());
    } catch (const decode::Cancelled& e) {
      const py::object type = py::module_::import("concurrent.futures").attr("CancelledError");
      PyErr_SetString(type.ptr(), e.what());
    } catch (const decode::MemoryLimitError& e) {
      const py::object type = py::module_::import("pytransformer.errors").attr("MemoryLimitError");
      PyErr_SetString(type.ptr(), e.what());
    } catch (const std::system_error& e) {
      errno = e.code().value();
      PyErr_SetFromErrnoWithFilename(PyExc_OSError, e.what());
    }
  });
}

void bind_model(py::module_& module) {
  py::class_<Model, std::shared_ptr<Model>>(module, "Model")
      .def_static("open", &open_model, py::arg("path"))
      .def_static("from_buffer", &model_from_buffer, py::arg("image"), py::arg("name"))
      .def_property_readonly("config", [](const Model& model) { return model.file().config(); })
      .def_property_readonly("compute_type", &compute_type)
      .def_property_readonly("num_parameters", &Model::num_parameters)
      .def_property_readonly("size_bytes",
                             [](const Model& model) { return model.file().size_bytes(); })
      .def_property_readonly("is_mapped",
                             [](const Model& model) { return model.file().is_mapped(); })
      .def("file", &model_file, py::arg("tensor"), py::arg("length"));
}

py::dict profile(Engine& engine) {
  const decode::Profile done = engine.profile();
  const auto seconds = [&](nn::Stage stage) { return done.seconds[static_cast<size_t>(stage)]; };
  py::dict result;
  result["encoder_seconds"] = seconds(nn::Stage::encoder);
  result["decoder_seconds"] = seconds(nn::Stage::decoder);
  result["attention_seconds"] = seconds(nn::Stage::attention);
  result["output_seconds"] = seconds(nn::Stage::output);
  result["search_seconds"] = seconds(nn::Stage::search);
  result["encoder_passes"] = done.encoder_passes;
  result["encoder_rows"] = done.encoder_rows;
  result["encoder_attention_pairs"] = done.encoder_attention_pairs;
  result["steps"] = done.steps;
  result["step_rows"] = done.step_rows;
  result["self_attention_keys"] = done.self_attention_keys;
  result["cross_attention_keys"] = done.cross_attention_keys;
  result["cross_attention_sentences_keys"] = done.cross_attention_sentence_keys;
  return result;
}

// For Python's `with`, on one thread.
class FloatEnvironmentScope {
 public:
  void enter() { environment_.emplace(); }
  void exit(const py::args&) { environment_.reset(); }

 private:
  std::optional<simd::DefaultFloatEnvironment> environment_;
};

void bind_float_environment(py::module_& module) {
  py::class_<FloatEnvironmentScope>(module, "DefaultFloatEnvironment")
      .def(py::init<>())
      .def("__enter__", &FloatEnvironmentScope::enter)
      .def("__exit__", &FloatEnvironmentScope::exit);
}

void bind_engine(py::module_& module) {
  py::class_<Engine>(module, "Engine")
      .def(py::init([](std::shared_ptr<Model> model, int inter_threads, int intra_threads,
                       const std::string& isa, int64_t max_memory) {
             const simd::Isa chosen = isa.empty() ? simd::active_isa() : simd::parse_isa(isa);
             return std::make_unique<Engine>(std::move(model), inter_threads, intra_threads, chosen,
                                             max_memory);
           }),
           py::arg("model"), py::arg("inter_threads"), py::arg("intra_threads"),
           py::arg("isa") = "", py::arg("max_memory") = 0)
      .def_property_readonly("isa", [](const Engine& engine) { return simd::name(engine.isa()); })
      .def_property_readonly("inter_threads", &Engine::inter_threads)
      .def_property_readonly("intra_threads", &Engine::intra_threads)
      .def_property_readonly("max_memory", &Engine::max_memory)
      .def("start_profile", &Engine::start_profile)
      .def("read_profile", &profile)
      .def("submit", &Engine::submit, py::arg("requests"), py::arg("options"),
           py::call_guard<py::gil_scoped_release>())
      .def("encode", &encode, py::arg("source"))
      .def("logits", &logits, py::arg("source"), py::arg("target"))
      .def("attention", &attention, py::arg("source"), py::arg("target"));
}

}  // namespace
}  // namespace pytransformer::python

// Without a GIL too: models, requests and results are not changed once they are made, and engines,
// jobs and completions lock for themselves what they share with their threads. Only the options of
// a search can be set, and who sets them makes them.
PYBIND11_MODULE(_native, module, py::mod_gil_not_used()) {
  module.doc() = "The C++ engine of pytransformer.";
  pytransformer::python::register_errors();
  pytransformer::python::bind_layer_kernels(module);
  pytransformer::python::bind_kernels(module);
  module.def("available_threads", &pytransformer::simd::available_threads);
  pytransformer::python::bind_model(module);
  pytransformer::python::bind_requests(module);
  pytransformer::python::bind_jobs(module);
  pytransformer::python::bind_float_environment(module);
  pytransformer::python::bind_engine(module);
  module.attr("c_table") =
      py::capsule(&pytransformer::embed::kTable, pytransformer::embed::kTableName);
}
