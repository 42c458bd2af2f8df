#include "decode/options.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <stdexcept>
#include <string>
#include <string_view>

namespace pytransformer::decode {
namespace {

constexpr int32_t kMostBeams = 4096;

// Gathers everything that is wrong, to be raised as one error.
class Faults {
 public:
  explicit Faults(int64_t vocab_size) : vocab_size_(vocab_size) {}

  void require(bool holds, std::string_view what) {
    if (!holds) text_.append(text_.empty() ? "" : "; ").append(what);
  }

  void between(const char* name, int64_t value, int64_t least, int64_t most) {
    if (value >= least && value <= most) return;
    require(false, std::string(name) + " = " + std::to_string(value) + " is not between " +
                       std::to_string(least) + " and " + std::to_string(most));
  }

  void within(const char* name, float value, float least, float most) {
    if (value >= least && value <= most) return;
    require(false, std::string(name) + " = " + std::to_string(value) + " is out of bounds");
  }

  void token(const char* name, int32_t id) {
    if (id >= 0 && id < vocab_size_) return;
    require(false, std::string(name) + " = " + std::to_string(id) + " is no token");
  }

  void tokens(const char* name, const std::vector<int32_t>& ids) {
    for (const int32_t id : ids) token(name, id);
  }

  void raise() const {
    if (!text_.empty()) throw std::invalid_argument(text_);
  }

 private:
  int64_t vocab_size_;
  std::string text_;
};

void check_tokens(const SearchOptions& options, Faults& faults) {
  if (options.decoder_start_token_id != -1) {
    faults.token("decoder_start_token_id", options.decoder_start_token_id);
  }
  faults.require(!options.end_token_ids.empty(), "end_token_ids is empty");
  faults.tokens("end_token_ids", options.end_token_ids);
  faults.tokens("suppress_token_ids", options.suppress_token_ids);
  for (const std::vector<int32_t>& sequence : options.suppress_sequences) {
    faults.require(!sequence.empty(), "suppress_sequences has an empty one");
    faults.tokens("suppress_sequences", sequence);
  }
  if (options.forced_bos_token_id != -1) {
    faults.token("forced_bos_token_id", options.forced_bos_token_id);
  }
  if (options.forced_end_token_id != -1) {
    faults.token("forced_end_token_id", options.forced_end_token_id);
  }
}

// What goes together with a rule of beam search, or with normalising again.
void check_rules(const SearchOptions& options, Faults& faults) {
  const bool many = options.beam_size == 1 || options.return_alternatives;
  double most = options.beam_size;
  if (options.as_ctranslate2()) {
    most = std::round(most * static_cast<double>(options.patience));
  }
  faults.between("num_hypotheses", options.num_hypotheses, 1,
                 many ? kMostBeams : static_cast<int64_t>(std::clamp(most, 1.0, 1e9)));
  faults.require(
      !options.as_ctranslate2() || (options.num_beam_groups == 1 && !options.return_alternatives),
      "CTranslate2's beam_rule goes neither with num_beam_groups nor with "
      "return_alternatives");
  faults.require(!options.renormalises() || options.diversity_penalty == 0,
                 "renormalize_logits does not go with diversity_penalty");
}

// What the first of the model's stacks reads.
void check_source(const std::string& what, const Request& request, const nn::StackSpec& stack) {
  if (stack.vector_size == 0) {
    if (!request.vectors.empty()) {
      throw std::invalid_argument(what + " holds vectors, but the model reads tokens");
    }
    check_ids(what, request.source, stack);
  } else {
    const int64_t count = request.num_vectors;
    if (!request.source.empty() || count < 1 || count > stack.positions.reach() ||
        request.vectors.size() != static_cast<size_t>(count * stack.vector_size)) {
      throw std::invalid_argument(what + " should be 1 to " +
                                  std::to_string(stack.positions.reach()) + " vectors of " +
                                  std::to_string(stack.vector_size) + " numbers");
    }
  }
  const std::vector<int32_t>& segments = request.segments;
  if (!segments.empty() && segments.size() != request.source.size()) {
    throw std::invalid_argument(what + " has " + std::to_string(request.source.size()) +
                                " tokens and " + std::to_string(segments.size()) + " types");
  }
  for (const int32_t segment : segments) {
    if (segment >= 0 && segment < stack.positions.segments) continue;
    throw std::invalid_argument(what + " has a token of type " + std::to_string(segment) +
                                "; the model has " + std::to_string(stack.positions.segments) +
                                " types");
  }
}

}  // namespace

void validate(const SearchOptions& options, const nn::ModelSpec& model) {
  if (options.encode) {
    if (!model.has_encoder()) throw std::invalid_argument("the model has no encoder");
    if (options.max_batch_size < 1) throw std::invalid_argument("max_batch_size is less than 1");
    return;
  }
  const nn::StackSpec& decoder = model.decoder;
  constexpr float kMost = std::numeric_limits<float>::max();
  Faults faults(decoder.vocab_size);
  faults.between("beam_size", options.beam_size, 1, kMostBeams);
  faults.within("patience", options.patience, 0.0f, kMost);
  faults.within("length_penalty", options.length_penalty, -kMost, kMost);
  faults.within("coverage_penalty", options.coverage_penalty, 0.0f, kMost);
  faults.within("repetition_penalty", options.repetition_penalty, std::numeric_limits<float>::min(),
                kMost);
  faults.require(options.no_repeat_ngram_size >= 0, "no_repeat_ngram_size is negative");
  faults.between("num_beam_groups", options.num_beam_groups, 1, std::max(1, options.beam_size));
  faults.require(options.num_beam_groups < 1 || options.beam_size % options.num_beam_groups == 0,
                 "beam_size is no multiple of num_beam_groups");
  faults.within("diversity_penalty", options.diversity_penalty, 0.0f, kMost);
  faults.between("max_decoding_length", options.max_decoding_length, 1,
                 decoder.positions.reach() - 1);
  faults.between("min_decoding_length", options.min_decoding_length, 0,
                 options.max_decoding_length);
  faults.within("max_length_factor", options.max_length_factor, 0.0f, kMost);
  faults.within("prefix_bias_beta", options.prefix_bias_beta, 0.0f, 0.999999f);
  faults.within("min_alternative_expansion_prob", options.min_alternative_expansion_prob, 0, 1);
  faults.require(options.sampling_topk >= 0, "sampling_topk is negative");
  faults.within("sampling_topp", options.sampling_topp, std::numeric_limits<float>::min(), 1);
  faults.within("sampling_temperature", options.sampling_temperature,
                std::numeric_limits<float>::min(), kMost);
  faults.require(!options.samples() || options.beam_size == 1, "sampling needs beam_size 1");
  faults.require(
      !options.return_alternatives ||
          (!options.samples() && options.num_beam_groups == 1 && options.prefix_bias_beta == 0),
      "return_alternatives goes neither with sampling nor with num_beam_groups nor with "
      "prefix_bias_beta");
  faults.require(model.has_decoder() && model.encoder.vector_size == 0, "the model only encodes");
  faults.require(
      model.has_encoder() || (!options.return_attention && options.coverage_penalty == 0),
      "return_attention and coverage_penalty need an encoder to look at");
  faults.require(model.has_encoder() || options.prefix_bias_beta == 0,
                 "prefix_bias_beta needs an encoder");
  faults.require(options.max_batch_size >= 1, "max_batch_size is less than 1");
  if (decoder.num_layers > 0) {
    faults.between("attention_layer", options.attention_layer, 0, decoder.num_layers - 1);
  }
  for (const int32_t head : options.attention_heads) {
    faults.between("attention_heads", head, 0, decoder.num_heads - 1);
  }
  check_rules(options, faults);
  check_tokens(options, faults);
  faults.raise();
}

void validate(const Request& request, size_t index, const SearchOptions& options,
              const nn::ModelSpec& model) {
  const std::string number = std::to_string(index);
  const nn::StackSpec& decoder = model.decoder;
  check_source("source " + number, request, model.has_encoder() ? model.encoder : decoder);
  if (options.encode) return;
  if (!request.target.empty()) check_ids("target " + number, request.target, decoder);
  // The last token of what is scored is never read.
  const int64_t needed = static_cast<int64_t>(request.source.size() + request.target.size()) +
                         (options.score_targets ? -1 : 1);
  if (!model.has_encoder() && needed > decoder.positions.reach()) {
    throw std::invalid_argument("prompt " + number + " needs " + std::to_string(needed) +
                                " positions with what follows it; the model has " +
                                std::to_string(decoder.positions.reach()));
  }
  for (const auto* const phrases : {&request.force_phrases, &request.force_words}) {
    for (const std::vector<int32_t>& phrase : *phrases) {
      check_ids("force_phrases " + number, phrase, decoder);
    }
  }
  if (request.allowed != nullptr) {
    const std::vector<int32_t>& allowed = *request.allowed;
    if (allowed.empty() || !std::is_sorted(allowed.begin(), allowed.end(), std::less_equal()) ||
        allowed.front() < 0 || allowed.back() >= decoder.vocab_size) {
      throw std::invalid_argument("allowed tokens " + number + " are not ids in order");
    }
  }
  // What is scored needs room for itself, a prefix for one token more.
  const int64_t most = options.max_decoding_length;
  if (!options.score_targets && static_cast<int64_t>(request.target.size()) >= most &&
      !request.target.empty()) {
    throw std::invalid_argument("target " + number + " has " +
                                std::to_string(request.target.size()) +
                                " tokens; there is room for fewer than " + std::to_string(most));
  }
}

void check_ids(const std::string& what, const std::vector<int32_t>& ids,
               const nn::StackSpec& stack) {
  if (ids.empty()) throw std::invalid_argument(what + " is empty");
  if (static_cast<int64_t>(ids.size()) > stack.positions.reach()) {
    throw std::invalid_argument(what + " has " + std::to_string(ids.size()) +
                                " tokens with its end token; the model has positions for " +
                                std::to_string(stack.positions.reach()) +
                                " (max_input_length cuts longer ones)");
  }
  for (const int32_t id : ids) {
    if (id < 0 || id >= stack.vocab_size) {
      throw std::invalid_argument(what + " holds the id " + std::to_string(id) +
                                  "; the vocabulary has " + std::to_string(stack.vocab_size));
    }
  }
}

}  // namespace pytransformer::decode
