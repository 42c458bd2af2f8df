#include "embed/result.h"

#include <cstring>

#include "embed/fault.h"

namespace pytransformer::embed {
namespace {

int32_t reason(const decode::Hypothesis& hypothesis) {
  switch (hypothesis.reason) {
    case decode::FinishReason::length:
      return PYTRANSFORMER_FINISH_LENGTH;
    case decode::FinishReason::loop:
      return PYTRANSFORMER_FINISH_LOOP;
    default:
      return PYTRANSFORMER_FINISH_END;
  }
}

pytransformer_hypothesis whole(const Hypothesis& from) {
  const decode::Hypothesis& found = from.found;
  pytransformer_hypothesis to = {};
  if (from.has_text) to.text = {from.text.c_str(), from.text.size()};
  to.tokens = {from.token_views.data(), from.token_views.size()};
  to.ids = {found.ids.data(), found.ids.size()};
  to.score = found.score;
  to.log_probs = found.log_probs.data();
  to.num_log_probs = found.log_probs.size();
  if (!found.attention.empty()) {
    to.attention = found.attention.data();
    to.source_length = found.attention.size() / found.ids.size();
  }
  to.finish_reason = reason(found);
  return to;
}

}  // namespace

void get(const Result& result, size_t sentence, size_t hypothesis, pytransformer_hypothesis& to) {
  require(to.size >= sizeof(size_t) && to.size <= sizeof to,
          "found->size is wrong: call pytransformer_hypothesis_init");
  require(sentence < result.size(), "there is no sentence of that index");
  require(hypothesis < result[sentence].size(), "there is no hypothesis of that index");
  pytransformer_hypothesis from = whole(result[sentence][hypothesis]);
  from.size = to.size;
  std::memcpy(&to, &from, to.size);
}

}  // namespace pytransformer::embed
