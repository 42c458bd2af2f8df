// Whether bytes are UTF-8.
#pragma once

#include <cstddef>
#include <string_view>

namespace pytransformer::io {

// How many bytes the character has that begins a text; 0 if none does.
size_t first_utf8_length(std::string_view text);

// Where the first byte stands that begins no character; npos if there is none. Surrogates and
// forms that are longer than need be are no characters.
size_t find_invalid_utf8(std::string_view text);

}  // namespace pytransformer::io
