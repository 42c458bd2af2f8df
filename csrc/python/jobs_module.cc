// Jobs while they run, and what comes of them.
#include <pybind11/numpy.h>
#include <pybind11/pybind11.h>
#include <pybind11/stl.h>

#include <algorithm>
#include <chrono>
#include <condition_variable>
#include <memory>
#include <mutex>
#include <utility>
#include <vector>

#include "decode/job.h"
#include "python/bindings.h"

namespace py = pybind11;

namespace pytransformer::python {
namespace {

using decode::Encoding;
using decode::Hypothesis;
using decode::Job;
using decode::TokenEvent;
using std::chrono::milliseconds;

// How often a waiting call looks for Ctrl-C.
constexpr milliseconds kSignalInterval(50);

void check_signals(Job& job) {
  if (PyErr_CheckSignals() == 0) return;
  job.cancel();
  throw py::error_already_set();
}

// Runs f, which returns a value, with the GIL released. pybind11's guard would end the process
// where Python ends this thread because the interpreter goes away: that unwinds the stack, which a
// destructor does not survive.
template <typename F>
auto without_gil(F f) {
  PyThreadState* const state = PyEval_SaveThread();
  try {
    auto value = f();
    PyEval_RestoreThread(state);
    return value;
  } catch (const std::exception&) {
    PyEval_RestoreThread(state);
    throw;
  }
}

// Waits with the GIL released; a pending signal (Ctrl-C) cancels the job and is raised.
std::vector<decode::Translation> result(Job& job) {
  while (true) {
    const bool done = without_gil([&] { return job.wait(kSignalInterval); });
    check_signals(job);
    if (done) return job.take_result();
  }
}

std::vector<TokenEvent> wait_for_events(Job& job) {
  while (true) {
    bool done = false;
    std::vector<TokenEvent> events = without_gil([&] {
      std::vector<TokenEvent> found = job.wait_for_events(kSignalInterval);
      if (!found.empty()) return found;
      // A job that has ended says nothing more than what it said between the two questions.
      done = job.done();
      return done ? job.wait_for_events(milliseconds(0)) : found;
    });
    check_signals(job);
    if (done || !events.empty()) return events;
  }
}

const char* reason(const Hypothesis& hypothesis) {
  switch (hypothesis.reason) {
    case decode::FinishReason::end:
      return "end";
    case decode::FinishReason::length:
      return "length";
    case decode::FinishReason::loop:
      return "loop";
    default:
      return "stop";
  }
}

// An array over the numbers where they lie, which keeps their owner alive; None if there are none.
py::object rows(const std::vector<float>& values, size_t count, const py::object& owner) {
  if (values.empty() || count == 0) return py::none();
  return py::array_t<float>({count, values.size() / count}, values.data(), owner);
}

py::object row(const std::vector<float>& values, const py::object& owner) {
  if (values.empty()) return py::none();
  return py::array_t<float>(static_cast<py::ssize_t>(values.size()), values.data(), owner);
}

py::object attention(const py::object& self) {
  const auto& hypothesis = py::cast<const Hypothesis&>(self);
  return rows(hypothesis.attention, hypothesis.ids.size(), self);
}

py::object logits(const py::object& self) {
  const auto& hypothesis = py::cast<const Hypothesis&>(self);
  return rows(hypothesis.logits, hypothesis.log_probs.size(), self);
}

py::object states(const py::object& self) {
  const Encoding& encoding = py::cast<const Hypothesis&>(self).encoding;
  return rows(encoding.states, encoding.rows, self);
}

py::object pooled(const py::object& self) {
  return row(py::cast<const Hypothesis&>(self).encoding.pooled, self);
}

py::object label_logits(const py::object& self) {
  return row(py::cast<const Hypothesis&>(self).encoding.logits, self);
}

// Which of several jobs have ended, for one thread that waits for all of them.
class Completions {
 public:
  void add(const std::shared_ptr<Job>& job, int64_t name) {
    job->when_ended([state = state_, name] {
      const std::scoped_lock lock(state->mutex);
      state->ended.push_back(name);
      state->changed.notify_one();
    });
  }

  // Names of jobs that ended; empty after close().
  std::vector<int64_t> wait() {
    return without_gil([this] {
      std::unique_lock lock(state_->mutex);
      state_->changed.wait(lock, [this] { return state_->closed || !state_->ended.empty(); });
      return std::exchange(state_->ended, {});
    });
  }

  void close() {
    const std::scoped_lock lock(state_->mutex);
    state_->closed = true;
    state_->changed.notify_all();
  }

 private:
  struct State {
    std::mutex mutex;
    std::condition_variable changed;
    std::vector<int64_t> ended;
    bool closed = false;
  };
  const std::shared_ptr<State> state_ = std::make_shared<State>();
};

}  // namespace

void bind_jobs(py::module_& module) {
  using release = py::call_guard<py::gil_scoped_release>;
  py::class_<Hypothesis>(module, "Hypothesis")
      .def_readonly("ids", &Hypothesis::ids)
      .def_readonly("score", &Hypothesis::score)
      .def_readonly("log_probs", &Hypothesis::log_probs)
      .def_property_readonly("reason", &reason)
      .def_property_readonly("attention", &attention)
      .def_property_readonly("logits", &logits)
      .def_property_readonly("states", &states)
      .def_property_readonly("pooled", &pooled)
      .def_property_readonly("label_logits", &label_logits);
  py::class_<TokenEvent>(module, "TokenEvent")
      .def_readonly("sentence", &TokenEvent::sentence)
      .def_readonly("step", &TokenEvent::step)
      .def_readonly("token", &TokenEvent::token)
      .def_readonly("log_prob", &TokenEvent::log_prob)
      .def_readonly("last", &TokenEvent::last);
  py::class_<Job, std::shared_ptr<Job>>(module, "Job")
      .def("done", &Job::done)
      .def("result", &result)
      .def("events", &wait_for_events)
      .def("cancel", &Job::cancel)
      .def("stop", &Job::stop, py::arg("sentence"), py::arg("tokens"), release());
  py::class_<Completions>(module, "Completions")
      .def(py::init<>())
      .def("add", &Completions::add, py::arg("job"), py::arg("name"), release())
      .def("wait", &Completions::wait)
      .def("close", &Completions::close, release());
}

}  // namespace pytransformer::python
