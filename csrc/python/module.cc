// The border between Python and C++: the only file but kernels_module.cc that knows Python.
#include <pybind11/numpy.h>
#include <pybind11/pybind11.h>
#include <pybind11/stl.h>

#include <algorithm>
#include <chrono>
#include <memory>
#include <string>
#include <string_view>
#include <system_error>
#include <utility>

#include "decode/engine.h"
#include "decode/inspect.h"
#include "python/bindings.h"
#include "simd/threads.h"

namespace py = pybind11;

namespace pytransformer::python {
namespace {

using decode::Engine;
using decode::SearchOptions;
using nn::Model;
using Ids = std::vector<int32_t>;
using Array = py::array_t<float>;

// How often a waiting call looks for Ctrl-C.
constexpr std::chrono::milliseconds kSignalInterval(50);

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

// Waits with the GIL released; a pending signal (Ctrl-C) cancels the job and is raised.
std::vector<decode::Translation> wait_for(decode::Job& job) {
  while (true) {
    bool done = false;
    {
      const py::gil_scoped_release release;
      done = job.wait(kSignalInterval);
    }
    if (PyErr_CheckSignals() != 0) {
      job.cancel();
      throw py::error_already_set();
    }
    if (done) return job.take_result();
  }
}

py::list translate(Engine& engine, std::vector<Ids> sources, const SearchOptions& options) {
  const std::shared_ptr<decode::Job> job = engine.submit(std::move(sources), options);
  py::list results;
  for (const decode::Translation& translation : wait_for(*job)) {
    py::list hypotheses;
    for (const decode::Hypothesis& hypothesis : translation) {
      hypotheses.append(py::make_tuple(py::cast(hypothesis.ids), hypothesis.score));
    }
    results.append(std::move(hypotheses));
  }
  return results;
}

Array to_array(const std::vector<float>& values, size_t rows) {
  const auto count = static_cast<py::ssize_t>(rows);
  const auto columns = static_cast<py::ssize_t>(values.size() / rows);
  Array array({count, columns});
  std::copy(values.begin(), values.end(), array.mutable_data());
  return array;
}

Array encode(const Engine& engine, const Ids& source) {
  std::vector<float> states;
  {
    const py::gil_scoped_release release;
    states = decode::encoder_states(engine.model(), engine.isa(), source);
  }
  return to_array(states, source.size());
}

Array logits(const Engine& engine, const Ids& source, const Ids& target) {
  std::vector<float> values;
  {
    const py::gil_scoped_release release;
    values = decode::forced_logits(engine.model(), engine.isa(), source, target);
  }
  return to_array(values, target.size());
}

SearchOptions make_options(int32_t beam_size, int32_t num_hypotheses, float length_penalty,
                           int32_t early_stopping, int32_t max_decoding_length,
                           int32_t min_decoding_length, bool return_scores,
                           int32_t decoder_start_token_id, Ids end_token_ids,
                           int32_t forced_end_token_id, Ids suppress_token_ids,
                           int32_t max_batch_size, bool batch_by_tokens) {
  if (early_stopping < 0 || early_stopping > 2) {
    throw std::invalid_argument("early_stopping must be 0, 1 or 2");
  }
  return {beam_size,
          num_hypotheses,
          length_penalty,
          static_cast<decode::EarlyStopping>(early_stopping),
          max_decoding_length,
          min_decoding_length,
          return_scores,
          decoder_start_token_id,
          std::move(end_token_ids),
          forced_end_token_id,
          std::move(suppress_token_ids),
          max_batch_size,
          batch_by_tokens};
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
      .def("file", &model_file, py::arg("tensor"), py::arg("length"));
}

void bind_search_options(py::module_& module) {
  py::class_<SearchOptions>(module, "SearchOptions")
      .def(py::init(&make_options), py::kw_only(), py::arg("beam_size"), py::arg("num_hypotheses"),
           py::arg("length_penalty"), py::arg("early_stopping"), py::arg("max_decoding_length"),
           py::arg("min_decoding_length"), py::arg("return_scores"),
           py::arg("decoder_start_token_id"), py::arg("end_token_ids"),
           py::arg("forced_end_token_id"), py::arg("suppress_token_ids"), py::arg("max_batch_size"),
           py::arg("batch_by_tokens"));
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

void bind_engine(py::module_& module) {
  py::class_<Engine>(module, "Engine")
      .def(
          py::init([](std::shared_ptr<Model> model, int inter_threads, int intra_threads,
                      const std::string& isa) {
            const simd::Isa chosen = isa.empty() ? simd::active_isa() : simd::parse_isa(isa);
            return std::make_unique<Engine>(std::move(model), inter_threads, intra_threads, chosen);
          }),
          py::arg("model"), py::arg("inter_threads"), py::arg("intra_threads"), py::arg("isa") = "")
      .def_property_readonly("isa", [](const Engine& engine) { return simd::name(engine.isa()); })
      .def_property_readonly("inter_threads", &Engine::inter_threads)
      .def_property_readonly("intra_threads", &Engine::intra_threads)
      .def("start_profile", &Engine::start_profile)
      .def("read_profile", &profile)
      .def("translate", &translate, py::arg("sources"), py::arg("options"))
      .def("encode", &encode, py::arg("source"))
      .def("logits", &logits, py::arg("source"), py::arg("target"));
}

}  // namespace
}  // namespace pytransformer::python

PYBIND11_MODULE(_native, module) {
  module.doc() = "The C++ engine of pytransformer.";
  pytransformer::python::register_errors();
  pytransformer::python::bind_kernels(module);
  module.def("available_threads", &pytransformer::simd::available_threads);
  pytransformer::python::bind_model(module);
  pytransformer::python::bind_search_options(module);
  pytransformer::python::bind_engine(module);
}
