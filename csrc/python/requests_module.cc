// Options and requests, as Python hands them over.
#include <pybind11/pybind11.h>
#include <pybind11/stl.h>

#include <memory>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

#include "decode/options.h"
#include "python/arrays.h"
#include "python/bindings.h"

namespace py = pybind11;

namespace pytransformer::python {
namespace {

using decode::EarlyStopping;
using decode::Request;
using decode::SearchOptions;
using Ids = std::vector<int32_t>;

// A list of tokens that several requests share.
struct TokenList {
  std::shared_ptr<const Ids> ids;
};

Request make_request(Ids source, Ids target, std::vector<Ids> force_phrases,
                     const TokenList* allowed, uint64_t seed, std::vector<Ids> force_words,
                     const TokenList* continuations, Ids segments) {
  const auto ids = [](const TokenList* list) { return list == nullptr ? nullptr : list->ids; };
  Request request;
  request.source = std::move(source);
  request.segments = std::move(segments);
  request.target = std::move(target);
  request.force_phrases = std::move(force_phrases);
  request.force_words = std::move(force_words);
  request.continuations = ids(continuations);
  request.allowed = ids(allowed);
  request.seed = seed;
  return request;
}

Request request_of_vectors(const Floats& vectors) {
  require_dimensions(vectors, 2, "vectors");
  Request request;
  request.vectors.assign(vectors.data(), vectors.data() + vectors.size());
  request.num_vectors = vectors.shape(0);
  return request;
}

void set_early_stopping(SearchOptions& options, int32_t value) {
  if (value < 0 || value > 2) throw std::invalid_argument("early_stopping must be 0, 1 or 2");
  options.early_stopping = static_cast<EarlyStopping>(value);
}

int32_t get_early_stopping(const SearchOptions& options) {
  return static_cast<int32_t>(options.early_stopping);
}

void set_beam_rule(SearchOptions& options, int32_t value) {
  if (value < 0 || value > 2) throw std::invalid_argument("beam_rule must be 0, 1 or 2");
  options.beam_rule = static_cast<decode::BeamRule>(value);
}

int32_t get_beam_rule(const SearchOptions& options) {
  return static_cast<int32_t>(options.beam_rule);
}

}  // namespace

void bind_requests(py::module_& module) {
  py::class_<TokenList>(module, "TokenList").def(py::init([](Ids ids) {
    return TokenList{std::make_shared<const Ids>(std::move(ids))};
  }));
  py::class_<Request>(module, "Request")
      .def(py::init(&make_request), py::arg("source"), py::arg("target") = Ids(),
           py::arg("force_phrases") = std::vector<Ids>(), py::arg("allowed") = py::none(),
           py::arg("seed") = 0, py::arg("force_words") = std::vector<Ids>(),
           py::arg("continuations") = py::none(), py::arg("segments") = Ids())
      .def_static("of_vectors", &request_of_vectors, py::arg("vectors"));
  py::class_<SearchOptions>(module, "SearchOptions")
      .def(py::init<>())
      .def(py::init<const SearchOptions&>(), py::arg("other"))
      .def_property("early_stopping", &get_early_stopping, &set_early_stopping)
      .def_property("beam_rule", &get_beam_rule, &set_beam_rule)
#define PYTRANSFORMER_FIELD(name) def_readwrite(#name, &SearchOptions::name)
      .PYTRANSFORMER_FIELD(encode)
      .PYTRANSFORMER_FIELD(score_targets)
      .PYTRANSFORMER_FIELD(beam_size)
      .PYTRANSFORMER_FIELD(num_hypotheses)
      .PYTRANSFORMER_FIELD(patience)
      .PYTRANSFORMER_FIELD(length_penalty)
      .PYTRANSFORMER_FIELD(coverage_penalty)
      .PYTRANSFORMER_FIELD(repetition_penalty)
      .PYTRANSFORMER_FIELD(no_repeat_ngram_size)
      .PYTRANSFORMER_FIELD(renormalize_logits)
      .PYTRANSFORMER_FIELD(num_beam_groups)
      .PYTRANSFORMER_FIELD(diversity_penalty)
      .PYTRANSFORMER_FIELD(max_decoding_length)
      .PYTRANSFORMER_FIELD(min_decoding_length)
      .PYTRANSFORMER_FIELD(max_length_factor)
      .PYTRANSFORMER_FIELD(prefix_bias_beta)
      .PYTRANSFORMER_FIELD(return_alternatives)
      .PYTRANSFORMER_FIELD(min_alternative_expansion_prob)
      .PYTRANSFORMER_FIELD(stop_loops)
      .PYTRANSFORMER_FIELD(sampling_topk)
      .PYTRANSFORMER_FIELD(sampling_topp)
      .PYTRANSFORMER_FIELD(sampling_temperature)
      .PYTRANSFORMER_FIELD(return_scores)
      .PYTRANSFORMER_FIELD(return_end_token)
      .PYTRANSFORMER_FIELD(return_attention)
      .PYTRANSFORMER_FIELD(return_logits)
      .PYTRANSFORMER_FIELD(stream)
      .PYTRANSFORMER_FIELD(attention_layer)
      .PYTRANSFORMER_FIELD(attention_heads)
      .PYTRANSFORMER_FIELD(decoder_start_token_id)
      .PYTRANSFORMER_FIELD(end_token_ids)
      .PYTRANSFORMER_FIELD(forced_bos_token_id)
      .PYTRANSFORMER_FIELD(forced_end_token_id)
      .PYTRANSFORMER_FIELD(suppress_token_ids)
      .PYTRANSFORMER_FIELD(suppress_sequences)
      .PYTRANSFORMER_FIELD(max_batch_size)
      .PYTRANSFORMER_FIELD(batch_by_tokens);
#undef PYTRANSFORMER_FIELD
}

}  // namespace pytransformer::python
