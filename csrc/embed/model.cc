#include "embed/model.h"

#include <algorithm>
#include <string_view>
#include <utility>

#include "embed/fault.h"
#include "io/json.h"
#include "text/errors.h"

namespace pytransformer::embed {
namespace {

using decode::SearchOptions;
using io::Json;
using io::JsonError;

// As pytransformer/model_spec.py, which says what each field means, has them: fields that came
// later may be absent.

int32_t id_of(const Json& json, std::string_view what) {
  return static_cast<int32_t>(std::min<int64_t>(json.as_size(what), INT32_MAX));
}

int32_t find_id(const Json& json, std::string_view key, int32_t otherwise) {
  const Json* const found = json.find(key);
  return found == nullptr ? otherwise : id_of(*found, key);
}

float find_number(const Json& json, std::string_view key, float otherwise) {
  const Json* const found = json.find(key);
  return found == nullptr ? otherwise : static_cast<float>(found->as_number(key));
}

std::vector<int32_t> find_ids(const Json& json, std::string_view key) {
  std::vector<int32_t> ids;
  if (const Json* const found = json.find(key)) {
    for (const Json& id : found->as_array(key)) ids.push_back(id_of(id, key));
  }
  return ids;
}

// The start may be no token at all, which is written -1.
int32_t start_token(const Json& json) {
  constexpr std::string_view kKey = "decoder_start_token_id";
  const Json& found = json.at(kKey);
  return found.as_number(kKey) == -1 ? -1 : id_of(found, kKey);
}

decode::EarlyStopping early_stopping(const Json& json) {
  constexpr std::string_view kKey = "early_stopping";
  const Json* const found = json.find(kKey);
  if (found == nullptr) return decode::EarlyStopping::heuristic;
  if (found->is_string()) {
    if (found->as_string(kKey) == "never") return decode::EarlyStopping::never;
    throw JsonError("early_stopping is neither true nor false nor \"never\"");
  }
  return found->as_bool(kKey) ? decode::EarlyStopping::full : decode::EarlyStopping::heuristic;
}

decode::BeamRule beam_rule(const Json& json) {
  constexpr std::string_view kKey = "beam_rule";
  const Json* const found = json.find(kKey);
  if (found == nullptr || found->as_string(kKey) == "generate") return decode::BeamRule::generate;
  if (found->as_string(kKey) == "marian") return decode::BeamRule::marian;
  if (found->as_string(kKey) == "ctranslate2") return decode::BeamRule::ctranslate2;
  throw JsonError("unknown beam_rule '" + found->as_string(kKey) + "'");
}

// A sequence of one token is a token that never comes.
void add_suppressed(const Json& json, SearchOptions& options) {
  options.suppress_token_ids = find_ids(json, "suppress_token_ids");
  if (const Json* const found = json.find("suppress_sequences")) {
    for (const Json& sequence : found->as_array("suppress_sequences")) {
      std::vector<int32_t> ids;
      for (const Json& id : sequence.as_array("suppress_sequences")) {
        ids.push_back(id_of(id, "suppress_sequences"));
      }
      if (ids.size() == 1) {
        options.suppress_token_ids.push_back(ids.front());
      } else {
        options.suppress_sequences.push_back(std::move(ids));
      }
    }
  }
}

text::Files tokenizer_files(const io::NativeFile& file, const Json& settings) {
  text::Files files;
  for (const auto& [name, place] : settings.at("files").as_object("files")) {
    const std::string& tensor = place.at("tensor").as_string("tensor");
    const int64_t length = place.at("length").as_size("length");
    const io::TensorView* const view = file.find(tensor);
    if (view == nullptr || length > static_cast<int64_t>(view->content.size())) {
      file.fail("there is no tensor '" + tensor + "' of at least " + std::to_string(length) +
                " bytes");
    }
    files.emplace(name, std::string_view(reinterpret_cast<const char*>(view->content.data()),
                                         static_cast<size_t>(length)));
  }
  return files;
}

}  // namespace

Model::Model(std::shared_ptr<const io::NativeFile> file)
    : weights_(std::make_shared<const nn::Model>(file)) {
  if (!spec().has_encoder() || !spec().has_decoder()) {
    throw Fault(PYTRANSFORMER_ERROR_UNSUPPORTED,
                file->name() + ": a model that translates has an encoder and a decoder; this is " +
                    (spec().has_encoder() ? "an encoder" : "a decoder") + " alone");
  }
  try {
    const Json config = Json::parse(file->config());
    family_ = config.at("family").as_string("family");
    read_generation(config.at("generation"));
    read_tokenizer(config.at("tokenizer"));
  } catch (const JsonError& error) {
    file->fail(std::string("damaged configuration: ") + error.what());
  } catch (const text::CheckpointError& error) {
    file->fail(error.what());
  }
}

void Model::read_generation(const Json& json) {
  const nn::StackSpec& decoder = spec().decoder;
  SearchOptions& options = defaults_;
  options.decoder_start_token_id = start_token(json);
  options.end_token_ids = {find_id(json, "end_token_id", -1)};
  for (const int32_t id : find_ids(json, "more_end_token_ids")) options.end_token_ids.push_back(id);
  options.forced_bos_token_id = find_id(json, "forced_bos_token_id", -1);
  options.forced_end_token_id = find_id(json, "forced_end_token_id", -1);
  const auto longest = std::min<int64_t>(json.at("max_decoding_length").as_size("length"),
                                         decoder.positions.reach() - 1);
  options.max_decoding_length = static_cast<int32_t>(std::min<int64_t>(longest, INT32_MAX));
  options.min_decoding_length = find_id(json, "min_decoding_length", 0);
  const int64_t beams = find_id(json, "beam_size", 1);
  options.beam_size = static_cast<int32_t>(std::min(beams, decoder.vocab_size));
  options.length_penalty = find_number(json, "length_penalty", 1.0f);
  options.repetition_penalty = find_number(json, "repetition_penalty", 1.0f);
  options.no_repeat_ngram_size = find_id(json, "no_repeat_ngram_size", 0);
  options.max_length_factor = find_number(json, "max_length_factor", 0.0f);
  options.early_stopping = early_stopping(json);
  options.beam_rule = beam_rule(json);
  const Json* const renormalises = json.find("renormalize_logits");
  options.renormalize_logits = renormalises != nullptr && renormalises->as_bool("renormalize");
  options.attention_layer = static_cast<int32_t>(std::max<int64_t>(1, decoder.num_layers) - 1);
  add_suppressed(json, options);
}

void Model::read_tokenizer(const Json& json) {
  const io::NativeFile& file = weights_->file();
  const Json& settings = json.at("settings");
  try {
    tokenizer_ =
        text::create(json.at("kind").as_string("kind"), settings, tokenizer_files(file, settings));
  } catch (const text::UnsupportedError& error) {
    // Whoever translates tokens or ids has no need of it.
    no_tokenizer_ = file.name() + ": " + error.what();
  }
}

const text::Tokenizer& Model::tokenizer() const {
  if (tokenizer_ == nullptr) throw text::UnsupportedError(no_tokenizer_);
  return *tokenizer_;
}

}  // namespace pytransformer::embed
