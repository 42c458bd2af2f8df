// The normalisation that a sentencepiece model brings along, as Hugging Face's tokenizers apply it.
#pragma once

#include <string>
#include <string_view>

#include "text/character_trie.h"

namespace pytransformer::text {

// Sentencepiece replaces the longest sequence of its map that it finds. Hugging Face's tokenizers
// look at one user-perceived character at a time: one of less than six bytes is replaced as a whole
// by what stands for the shortest sequence at its beginning, even if that is not all of it, others
// character by character.
std::string mapped(std::string_view text, const CharacterTrie& characters);

}  // namespace pytransformer::text
