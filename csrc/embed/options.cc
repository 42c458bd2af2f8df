#include "embed/options.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>
#include <string>
#include <utility>

#include "embed/fault.h"

namespace pytransformer::embed {
namespace {

// How much is translated at once unless the caller says otherwise: enough rows to keep the matrix
// multiplications at full speed. Results do not depend on it.
constexpr int32_t kBatchSentences = 64;
constexpr int32_t kBatchTokens = 2048;

// The struct in full: members that the caller's header did not know are unset.
pytransformer_options complete(const pytransformer_options& given) {
  pytransformer_options options = unset_options();
  if (given.size > sizeof options || given.size < offsetof(pytransformer_options, context)) {
    throw Fault(PYTRANSFORMER_ERROR_ARGUMENT, "options->size is " + std::to_string(given.size) +
                                                  ", expected " + std::to_string(sizeof options) +
                                                  " or less: call pytransformer_options_init");
  }
  std::memcpy(&options, &given, given.size);
  return options;
}

void set(int32_t value, int32_t& option) {
  if (value != PYTRANSFORMER_UNSET) option = value;
}
void set(float value, float& option) {
  if (!std::isnan(value)) option = value;
}

void set(const char* name, int32_t value, bool& option) {
  if (value == PYTRANSFORMER_UNSET) return;
  if (value != 0 && value != 1) {
    throw Fault(PYTRANSFORMER_ERROR_OPTION,
                std::string(name) + " is " + std::to_string(value) + ", expected 0 or 1");
  }
  option = value == 1;
}

template <typename Enum>
void set(const char* name, int32_t value, int32_t most, Enum& option) {
  if (value == PYTRANSFORMER_UNSET) return;
  if (value < 0 || value > most) {
    throw Fault(PYTRANSFORMER_ERROR_OPTION, std::string(name) + " is " + std::to_string(value) +
                                                ", expected 0 to " + std::to_string(most));
  }
  option = static_cast<Enum>(value);
}

// Ids that an option holds, all of them the decoder's.
Ids tokens(const char* name, pytransformer_ids given, const Model& model) {
  const int64_t size = model.spec().decoder.vocab_size;
  Ids ids = ids_of(given);
  for (const int32_t id : ids) {
    if (id >= 0 && id < size) continue;
    throw Fault(PYTRANSFORMER_ERROR_OPTION, std::string(name) + " has the id " +
                                                std::to_string(id) + "; the vocabulary has " +
                                                std::to_string(size));
  }
  return ids;
}

std::vector<Ids> phrases(const char* name, const pytransformer_ids* data, size_t count,
                         const Model& model) {
  std::vector<Ids> found;
  for (const pytransformer_ids& ids : span_of(name, data, count)) {
    found.push_back(tokens(name, ids, model));
    if (found.back().empty())
      throw Fault(PYTRANSFORMER_ERROR_OPTION, std::string(name) + " has an empty one");
  }
  return found;
}

void read_search(const pytransformer_options& given, decode::SearchOptions& search) {
  // Drawing at random goes with one beam.
  if (given.sampling_topk != PYTRANSFORMER_UNSET && given.sampling_topk != 1) search.beam_size = 1;
  set(given.beam_size, search.beam_size);
  set(given.num_hypotheses, search.num_hypotheses);
  set(given.patience, search.patience);
  set(given.length_penalty, search.length_penalty);
  set(given.coverage_penalty, search.coverage_penalty);
  set(given.repetition_penalty, search.repetition_penalty);
  set(given.no_repeat_ngram_size, search.no_repeat_ngram_size);
  set("renormalize_logits", given.renormalize_logits, search.renormalize_logits);
  set(given.num_beam_groups, search.num_beam_groups);
  set(given.diversity_penalty, search.diversity_penalty);
  set("early_stopping", given.early_stopping, 2, search.early_stopping);
  set("beam_rule", given.beam_rule, 2, search.beam_rule);
  set(given.max_decoding_length, search.max_decoding_length);
  set(given.min_decoding_length, search.min_decoding_length);
  set(given.max_length_factor, search.max_length_factor);
  set("stop_loops", given.stop_loops, search.stop_loops);
  set(given.prefix_bias_beta, search.prefix_bias_beta);
  set("return_alternatives", given.return_alternatives, search.return_alternatives);
  set(given.min_alternative_expansion_prob, search.min_alternative_expansion_prob);
  set(given.sampling_topk, search.sampling_topk);
  set(given.sampling_topp, search.sampling_topp);
  set(given.sampling_temperature, search.sampling_temperature);
  set("return_scores", given.return_scores, search.return_scores);
  set("return_end_token", given.return_end_token, search.return_end_token);
  set("return_attention", given.return_attention, search.return_attention);
  const int32_t layers = search.attention_layer + 1;
  set(given.attention_layer, search.attention_layer);
  // Counted from the last one.
  if (search.attention_layer < 0 && search.attention_layer >= -layers) {
    search.attention_layer += layers;
  }
  search.attention_heads = ids_of(given.attention_heads);
  set("batch_type", given.batch_type, 1, search.batch_by_tokens);
  search.max_batch_size = search.batch_by_tokens ? kBatchTokens : kBatchSentences;
  if (given.max_batch_size != 0) set(given.max_batch_size, search.max_batch_size);
}

// Tokens that end a translation.
void read_ends(const pytransformer_options& given, const Model& model,
               decode::SearchOptions& search) {
  if (given.end_tokens.count > 0) {
    search.end_token_ids = tokens("end_tokens", given.end_tokens, model);
  }
  set(given.forced_eos_token_id, search.forced_end_token_id);
  const int32_t forced = search.forced_end_token_id;
  if (forced == -1 || std::ranges::count(search.end_token_ids, forced) > 0) return;
  if (given.forced_eos_token_id != PYTRANSFORMER_UNSET) {
    throw Fault(PYTRANSFORMER_ERROR_OPTION, "forced_eos_token_id is " + std::to_string(forced) +
                                                ", which is none of the end tokens");
  }
  // The checkpoint's forced end token must not come where the caller has other end tokens.
  search.forced_end_token_id = -1;
}

void read_tokens(const pytransformer_options& given, const Model& model, Decoding& decoding) {
  decode::SearchOptions& search = decoding.search;
  set(given.decoder_start_token_id, search.decoder_start_token_id);
  set(given.forced_bos_token_id, search.forced_bos_token_id);
  read_ends(given, model, search);
  const std::vector<Ids> suppressed =
      phrases("suppress_sequences", given.suppress_sequences, given.num_suppress_sequences, model);
  // In the place of the checkpoint's.
  if (!suppressed.empty()) search.suppress_sequences.clear();
  for (const Ids& sequence : suppressed) {
    if (sequence.size() == 1) {
      search.suppress_token_ids.push_back(sequence.front());
    } else {
      search.suppress_sequences.push_back(sequence);
    }
  }
  bool disable_unk = false;
  set("disable_unk", given.disable_unk, disable_unk);
  if (disable_unk) {
    if (const auto unknown = model.tokenizer().unknown_id()) {
      search.suppress_token_ids.push_back(*unknown);
    }
  }
  decoding.force_phrases =
      phrases("force_phrases", given.force_phrases, given.num_force_phrases, model);
  if (given.allowed_tokens.count > 0) {
    Ids allowed = tokens("allowed_tokens", given.allowed_tokens, model);
    allowed.insert(allowed.end(), search.end_token_ids.begin(), search.end_token_ids.end());
    std::ranges::sort(allowed);
    allowed.erase(std::ranges::unique(allowed).begin(), allowed.end());
    decoding.allowed = std::make_shared<const Ids>(std::move(allowed));
  }
}

// A target language names the tokens that translations into it begin with.
void read_languages(const pytransformer_options& given, const Model& model, Decoding& decoding) {
  if (given.src_lang != nullptr) decoding.languages.source = given.src_lang;
  if (given.tgt_lang != nullptr) decoding.languages.target = given.tgt_lang;
  const text::Tokenizer* const tokenizer =
      decoding.languages.target.empty() ? model.find_tokenizer() : &model.tokenizer();
  if (tokenizer == nullptr) return;
  const auto forced = tokenizer->forced_bos_id(decoding.languages.target);
  if (forced && given.forced_bos_token_id == PYTRANSFORMER_UNSET) {
    decoding.search.forced_bos_token_id = *forced;
  }
  const auto start = tokenizer->decoder_start_id(decoding.languages.target);
  if (start && given.decoder_start_token_id == PYTRANSFORMER_UNSET) {
    decoding.search.decoder_start_token_id = *start;
  }
}

// Options without effect: the engine would pass over them in silence.
void check_contradictions(const decode::SearchOptions& search) {
  const auto require = [](bool holds, const char* what) {
    if (!holds) throw Fault(PYTRANSFORMER_ERROR_OPTION, what);
  };
  require(search.diversity_penalty <= 0 || search.num_beam_groups > 1,
          "diversity_penalty needs num_beam_groups of 2 or more");
  require(search.samples() || (search.sampling_topp == 1 && search.sampling_temperature == 1),
          "sampling_topp and sampling_temperature need sampling_topk: 0 draws from all tokens, 1 "
          "takes the best");
  require(search.return_alternatives || search.min_alternative_expansion_prob <= 0,
          "min_alternative_expansion_prob needs return_alternatives");
}

}  // namespace

std::string_view view(pytransformer_text text) {
  if (text.data == nullptr) {
    require(text.length == 0, "a text is NULL");
    return {};
  }
  if (text.length == SIZE_MAX) return text.data;
  const std::span<const char> found = span_of("a text", text.data, text.length);
  return {found.data(), found.size()};
}

Ids ids_of(pytransformer_ids ids) {
  const std::span<const int32_t> found = span_of("ids", ids.data, ids.count);
  return {found.begin(), found.end()};
}

pytransformer_options unset_options() {
  pytransformer_options options = {};
  options.size = sizeof options;
  for (int32_t* const option : {&options.beam_size,
                                &options.num_hypotheses,
                                &options.no_repeat_ngram_size,
                                &options.renormalize_logits,
                                &options.num_beam_groups,
                                &options.early_stopping,
                                &options.beam_rule,
                                &options.max_decoding_length,
                                &options.min_decoding_length,
                                &options.max_input_length,
                                &options.stop_loops,
                                &options.disable_unk,
                                &options.return_alternatives,
                                &options.sampling_topk,
                                &options.return_scores,
                                &options.return_end_token,
                                &options.return_attention,
                                &options.attention_layer,
                                &options.decoder_start_token_id,
                                &options.forced_bos_token_id,
                                &options.forced_eos_token_id,
                                &options.max_batch_size,
                                &options.batch_type}) {
    *option = PYTRANSFORMER_UNSET;
  }
  for (float* const option :
       {&options.patience, &options.length_penalty, &options.coverage_penalty,
        &options.repetition_penalty, &options.diversity_penalty, &options.max_length_factor,
        &options.prefix_bias_beta, &options.min_alternative_expansion_prob, &options.sampling_topp,
        &options.sampling_temperature}) {
    *option = std::numeric_limits<float>::quiet_NaN();
  }
  return options;
}

Decoding read_options(const pytransformer_options* given, const Model& model) {
  Decoding decoding;
  decoding.search = model.defaults();
  const pytransformer_options all = given == nullptr ? unset_options() : complete(*given);
  read_search(all, decoding.search);
  read_tokens(all, model, decoding);
  read_languages(all, model, decoding);
  check_contradictions(decoding.search);
  set(all.max_input_length, decoding.max_input_length);
  if (decoding.max_input_length < 0) {
    throw Fault(PYTRANSFORMER_ERROR_OPTION, "max_input_length is " +
                                                std::to_string(decoding.max_input_length) +
                                                ", expected 0 or more");
  }
  if (all.seed != nullptr) decoding.seed = *all.seed;
  decoding.target_prefix = view(all.target_prefix);
  decoding.on_token = all.on_token;
  decoding.on_text = all.on_text;
  decoding.context = all.context;
  return decoding;
}

}  // namespace pytransformer::embed
