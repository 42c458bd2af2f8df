#include "decode/options.h"

#include <cmath>
#include <stdexcept>
#include <string>

namespace pytransformer::decode {

void validate(const SearchOptions& options, const nn::StackSpec& decoder) {
  const int64_t vocab_size = decoder.vocab_size;
  const int64_t max_positions = decoder.positions.reach();
  std::string faults;
  const auto require = [&](bool holds, const std::string& what) {
    if (!holds) faults += (faults.empty() ? "" : "; ") + what;
  };
  const auto is_token = [&](int32_t id) { return id >= 0 && id < vocab_size; };
  const auto value = [](const char* name, int64_t number) {
    return std::string(name) + " = " + std::to_string(number);
  };
  require(options.beam_size >= 1 && options.beam_size <= vocab_size,
          value("beam_size", options.beam_size) + " is not between 1 and the vocabulary's size");
  require(options.num_hypotheses >= 1 && options.num_hypotheses <= options.beam_size,
          value("num_hypotheses", options.num_hypotheses) + " is not between 1 and beam_size");
  require(std::isfinite(options.length_penalty), "length_penalty is not finite");
  require(options.max_decoding_length >= 1 && options.max_decoding_length < max_positions,
          value("max_decoding_length", options.max_decoding_length) + " is not between 1 and " +
              std::to_string(max_positions - 1) + ", the decoder's positions");
  require(options.min_decoding_length >= 0 &&
              options.min_decoding_length <= options.max_decoding_length,
          value("min_decoding_length", options.min_decoding_length) +
              " is not between 0 and max_decoding_length");
  require(is_token(options.decoder_start_token_id),
          value("decoder_start_token_id", options.decoder_start_token_id) + " is no token");
  require(!options.end_token_ids.empty(), "end_token_ids is empty");
  for (const int32_t id : options.end_token_ids) {
    require(is_token(id), value("end_token_ids", id) + " is no token");
  }
  for (const int32_t id : options.suppress_token_ids) {
    require(is_token(id), value("suppress_token_ids", id) + " is no token");
  }
  require(options.forced_end_token_id == -1 || is_token(options.forced_end_token_id),
          value("forced_end_token_id", options.forced_end_token_id) + " is no token");
  require(options.max_batch_size >= 1,
          value("max_batch_size", options.max_batch_size) + " is less than 1");
  if (!faults.empty()) throw std::invalid_argument(faults);
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
