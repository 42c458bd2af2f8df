#include "text/t5_family.h"

#include <algorithm>
#include <utility>

#include "text/errors.h"
#include "text/settings.h"
#include "text/unicode.h"

namespace pytransformer::text {

T5Family::T5Family(const io::Json& settings, int32_t unknown_id)
    : unknown_id_(unknown_id),
      num_embeddings_(id(settings, "num_embeddings")),
      prefixes_(settings) {
  for (const AddedToken& token : read_added_tokens(settings)) {
    if (token.special) special_ids_.push_back(token.id);
  }
  std::ranges::sort(special_ids_);
}

void T5Family::read_end(const io::Json& settings) {
  const std::string end = string(settings, "eos_token");
  end_id_ = id_of(end);
  if (token_of(end_id_) != end) {
    throw CheckpointError("the tokenizer's settings: no token " + quoted(end));
  }
}

std::vector<int32_t> T5Family::cut_source(std::string_view text, const Languages& languages) const {
  check_text(text);
  return cut(prefixes_.put(text, languages));
}

std::vector<int32_t> T5Family::encode_target_ids(std::string_view text) const {
  check_text(text);
  return cut(text);
}

std::vector<int32_t> T5Family::source_ids(std::span<const std::string_view> tokens) const {
  std::vector<int32_t> ids = target_ids(tokens);
  if (ids.empty() || ids.back() != end_id_) ids.push_back(end_id_);
  return ids;
}

std::vector<int32_t> T5Family::target_ids(std::span<const std::string_view> tokens) const {
  std::vector<int32_t> ids;
  for (const std::string_view token : tokens) ids.push_back(id_of(token));
  return ids;
}

std::string T5Family::source_token(int32_t id) const { return target_token(id); }

std::string T5Family::target_token(int32_t id) const {
  std::optional<std::string> token = checked_token(id);
  if (token && !token->empty()) return *std::move(token);
  return "<unused_" + std::to_string(id) + ">";
}

std::string T5Family::decode(std::span<const int32_t> ids) const {
  std::vector<std::string> tokens;
  for (const int32_t id : ids) {
    if (std::ranges::binary_search(special_ids_, id)) continue;
    if (std::optional<std::string> token = checked_token(id)) tokens.push_back(*std::move(token));
  }
  return text_of(tokens);
}

std::optional<std::string> T5Family::checked_token(int32_t id) const {
  std::optional<std::string> token = token_of(id);
  if (!token && (id < 0 || id >= num_embeddings_)) {
    throw OptionError("no token has the id " + std::to_string(id));
  }
  return token;
}

}  // namespace pytransformer::text
