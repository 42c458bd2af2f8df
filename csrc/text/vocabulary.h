// The tokens of a model and their ids.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace pytransformer::text {

// Tokens in the order of their ids; an id may have none.
class TokenList {
 public:
  void add(std::string_view token);
  void add_hole();

  size_t size() const { return ends_.size(); }
  // None for an id that has none; any id may be asked for.
  std::optional<std::string_view> token(int64_t id) const;

 private:
  std::string text_;  // of all tokens, one behind another
  std::vector<uint32_t> ends_;
  std::vector<bool> is_hole_;
};

// What a null in a list of tokens is.
enum class Null { hole, word_none, error };

// Reads a JSON list. Throws CheckpointError that names the file.
TokenList read_tokens(std::string_view content, std::string_view name, Null null = Null::hole);

// Which id a token has that comes twice.
enum class Twice { first, last };

class Vocabulary {
 public:
  explicit Vocabulary(TokenList tokens, Twice twice = Twice::last);

  size_t size() const { return tokens_.size(); }
  std::optional<std::string_view> token(int64_t id) const { return tokens_.token(id); }
  std::optional<int32_t> find(std::string_view token) const;
  // Throws CheckpointError if there is no such token.
  int32_t required(std::string_view token) const;
  // As `find`, for whoever has the token's hash, which grows with the token, byte by byte.
  std::optional<int32_t> find(std::string_view token, uint64_t hash) const;

  // The ids of tokens that come once more, and those where they do, in the order of the latter.
  std::span<const std::pair<int32_t, int32_t>> repeated() const { return repeated_; }

  static constexpr uint64_t kHashOfNothing = 0xCBF29CE484222325;  // Fowler, Noll and Vo's 1a
  static uint64_t grown_hash(uint64_t hash, char byte) {
    return (hash ^ static_cast<unsigned char>(byte)) * 0x100000001B3;
  }

 private:
  struct Slot {
    uint32_t hash;  // the upper half
    uint32_t id;    // and 1; 0 where the slot is free
  };
  // Where the slot is that holds a token, or the free one where it belongs.
  size_t place_of(std::string_view token, uint64_t hash) const;

  TokenList tokens_;
  std::vector<std::pair<int32_t, int32_t>> repeated_;
  std::vector<Slot> slots_;  // a power of two, half of them free at least
};

}  // namespace pytransformer::text
