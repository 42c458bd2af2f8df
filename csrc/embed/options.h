// The options of a call as the engine takes them.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string_view>
#include <vector>

#include "decode/options.h"
#include "embed/model.h"
#include "pytransformer.h"
#include "text/tokenizer.h"

namespace pytransformer::embed {

using Ids = std::vector<int32_t>;

// Views lead to what the caller owns until the call ends.
struct Decoding {
  decode::SearchOptions search;
  int32_t max_input_length = 0;  // 0 cuts nothing
  std::vector<Ids> force_phrases;
  std::shared_ptr<const Ids> allowed;  // sorted; null for all tokens
  std::optional<uint64_t> seed;
  text::Languages languages;
  std::string_view target_prefix;
  pytransformer_token_callback on_token = nullptr;
  pytransformer_text_callback on_text = nullptr;
  void* context = nullptr;
};

// What `given` (null: nothing) says over the model's defaults. Throws Fault for a struct of an
// unknown size or pointers that lead nowhere; the engine checks the values.
Decoding read_options(const pytransformer_options* given, const Model& model);

// Leaves everything unset.
pytransformer_options unset_options();

// Views of what a caller gives. Throw Fault where there is NULL and must be something.
std::string_view view(pytransformer_text text);
Ids ids_of(pytransformer_ids ids);

}  // namespace pytransformer::embed
