// The map of character sequences in sentencepiece's models: how many bytes a trie has, the trie, an
// array of 32-bit units as Darts-clone lays it out (Yata 2008, "Double-Array Trie"), and the texts
// that replace the sequences, each ended by a zero byte.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string_view>

namespace pytransformer::text {

class CharacterTrie {
 public:
  // `content` must outlive it. Throws CheckpointError, here or while it is used, if that is not a
  // map of characters.
  explicit CharacterTrie(std::string_view content);

  // For whoever reads the content without looking: throws CheckpointError if a text could lead out
  // of it, or begin with more than so many sequences.
  void check(size_t most_sequences) const;

  // A sequence at the beginning of a text, and what replaces it.
  struct Match {
    size_t length;  // bytes
    std::string_view replacement;
  };
  std::optional<Match> shortest(std::string_view text) const { return find(text, false); }
  std::optional<Match> longest(std::string_view text) const { return find(text, true); }

 private:
  struct Unit;
  std::optional<Match> find(std::string_view text, bool goes_on) const;
  Unit unit(size_t place) const;
  std::string_view text_at(size_t begin) const;

  std::string_view units_, texts_;
};

}  // namespace pytransformer::text
