// User-perceived characters (Unicode Standard Annex 29), as far as the map of characters in a
// tokenizer sees them: within sequences of less than six bytes.
#pragma once

#include <cstddef>
#include <string_view>

namespace pytransformer::text {

// How many bytes the user-perceived character at a place has, if it is made of several characters;
// 0 if one character stands there by itself.
size_t several_characters(std::string_view text, size_t place);

}  // namespace pytransformer::text
