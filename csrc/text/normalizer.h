// How sentencepiece rewrites a text before it cuts it, or after it has joined one.
#pragma once

#include <optional>
#include <string>
#include <string_view>

#include "text/character_trie.h"
#include "text/prefix_matcher.h"
#include "text/sentencepiece_file.h"

namespace pytransformer::text {

// sentencepiece's mark of a space.
inline constexpr std::string_view kMarkedSpace = "\u2581";

class Normalizer {
 public:
  // The texts that `kept` knows stay as they are. Throws CheckpointError.
  Normalizer(const NormalizerSpec& spec, bool space_is_behind, PrefixMatcher kept);

  // Throws CheckpointError if the map of characters turns out to be broken.
  std::string operator()(std::string_view text) const;

 private:
  // What stands for the beginning of a text, and how long that is.
  struct Step {
    std::string_view replacement;
    size_t length;
  };
  Step first(std::string_view text) const;

  std::optional<CharacterTrie> characters_;
  bool adds_in_front_, adds_behind_, removes_spaces_;
  std::string_view space_;
  PrefixMatcher kept_;
};

}  // namespace pytransformer::text
