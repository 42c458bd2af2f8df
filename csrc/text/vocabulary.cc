#include "text/vocabulary.h"

#include <bit>
#include <utility>

#include "io/json.h"
#include "text/errors.h"
#include "text/unicode.h"

namespace pytransformer::text {
namespace {

uint64_t hash_of(std::string_view token) {
  uint64_t hash = Vocabulary::kHashOfNothing;
  for (const char byte : token) hash = Vocabulary::grown_hash(hash, byte);
  return hash;
}

}  // namespace

void TokenList::add(std::string_view token) {
  text_ += token;
  if (text_.size() > UINT32_MAX) throw CheckpointError("a list of tokens is too long");
  ends_.push_back(static_cast<uint32_t>(text_.size()));
  is_hole_.push_back(false);
}

void TokenList::add_hole() {
  add("");
  is_hole_.back() = true;
}

std::optional<std::string_view> TokenList::token(int64_t id) const {
  const auto place = static_cast<size_t>(id);
  if (id < 0 || place >= ends_.size() || is_hole_[place]) return std::nullopt;
  const size_t begin = place == 0 ? 0 : ends_[place - 1];
  return std::string_view(text_).substr(begin, ends_[place] - begin);
}

TokenList read_tokens(std::string_view content, std::string_view name, Null null) {
  TokenList tokens;
  const auto take = [&](std::optional<std::string_view> token) {
    if (!token && null == Null::error) throw io::JsonError("null is no token");
    if (!token && null == Null::hole) {
      tokens.add_hole();
    } else {
      tokens.add(token.value_or("None"));
    }
  };
  try {
    io::Json::read_strings(content, take);
  } catch (const io::JsonError& error) {
    throw CheckpointError(std::string(name) + ": not a list of tokens: " + error.what());
  }
  return tokens;
}

Vocabulary::Vocabulary(TokenList tokens, Twice twice) : tokens_(std::move(tokens)) {
  if (size() > INT32_MAX) throw CheckpointError("a list of tokens is too long");
  slots_.resize(std::bit_ceil(2 * size() + 1));
  for (size_t id = 0; id < size(); ++id) {
    const std::optional<std::string_view> text = token(static_cast<int64_t>(id));
    if (!text) continue;
    const uint64_t hash = hash_of(*text);
    Slot& found = slots_[place_of(*text, hash)];
    if (found.id != 0) {
      repeated_.emplace_back(static_cast<int32_t>(found.id - 1), static_cast<int32_t>(id));
      if (twice == Twice::first) continue;
    }
    found = {static_cast<uint32_t>(hash >> 32), static_cast<uint32_t>(id) + 1};
  }
}

std::optional<int32_t> Vocabulary::find(std::string_view token) const {
  return find(token, hash_of(token));
}

int32_t Vocabulary::required(std::string_view token) const {
  if (const std::optional<int32_t> found = find(token)) return *found;
  throw CheckpointError("the tokenizer's settings or files are incomplete: there is no token " +
                        quoted(token));
}

std::optional<int32_t> Vocabulary::find(std::string_view token, uint64_t hash) const {
  const Slot& found = slots_[place_of(token, hash)];
  if (found.id == 0) return std::nullopt;
  return static_cast<int32_t>(found.id - 1);
}

size_t Vocabulary::place_of(std::string_view token, uint64_t hash) const {
  const size_t mask = slots_.size() - 1;
  for (size_t place = hash & mask;; place = (place + 1) & mask) {
    const Slot& found = slots_[place];
    if (found.id == 0) return place;
    if (found.hash == static_cast<uint32_t>(hash >> 32) && *tokens_.token(found.id - 1) == token) {
      return place;
    }
  }
}

}  // namespace pytransformer::text
