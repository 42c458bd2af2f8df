// What cuts texts of one side into tokens that have ids, and joins them again.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "io/json.h"
#include "text/tokenizer.h"

namespace pytransformer::text {

// The methods may be called from several threads at once.
class Pieces {
 public:
  virtual ~Pieces() = default;

  virtual int32_t unknown_id() const = 0;
  // The ids of a text's tokens.
  virtual std::vector<int32_t> cut_ids(std::string_view text) const = 0;
  // The ids that a text's tokens have by their names, which may be those of control tokens too.
  virtual std::vector<int32_t> cut_names(std::string_view text) const { return cut_ids(text); }
  // The id of a token, or the unknown one.
  virtual int32_t id_of(std::string_view token) const = 0;
  // The token of an id, if it has one; any id may be asked for.
  virtual std::optional<std::string_view> token_of(int32_t id) const = 0;
  // The text of ids, without special ones and those that have no token.
  virtual std::string text(std::span<const int32_t> ids) const = 0;
  // The text of tokens, none of them special.
  virtual std::string text_of(std::span<const std::string_view> tokens) const = 0;
};

// Each throws io::JsonError or CheckpointError.
std::unique_ptr<const Pieces> m2m100_pieces(const io::Json& settings, const Files& files);
std::unique_ptr<const Pieces> metaspace_pieces(const io::Json& settings, const Files& files);

}  // namespace pytransformer::text
