// What tokenizers need of Unicode. All text is UTF-8.
#pragma once

#include <cstddef>
#include <string>
#include <string_view>

namespace pytransformer::text {

// What is white space for Python's str, and what for Hugging Face's tokenizers, which do not count
// U+001C to U+001F.
enum class Spaces { python, library };

// Throws OptionError that says where `text` is not UTF-8.
void check_text(std::string_view text);

// How many bytes the character at a place has, and which it is. What follows is about valid text;
// of other text it says something, and reads nothing beyond the end.
size_t character_length(std::string_view text, size_t place);
char32_t character_at(std::string_view text, size_t place);
size_t count_characters(std::string_view text);

// The character of one byte in Latin-1.
std::string latin1_character(unsigned char byte);

bool is_space(char32_t character, Spaces spaces);
std::string_view without_leading_space(std::string_view text, Spaces spaces = Spaces::python);
std::string_view without_trailing_space(std::string_view text, Spaces spaces = Spaces::python);
bool is_blank(std::string_view text);
// Where the white space behind `place` begins, and where it ends; the text's end if there is none.
size_t find_space(std::string_view text, size_t place, Spaces spaces);
size_t skip_space(std::string_view text, size_t place, Spaces spaces);

// The text in quotation marks, for messages: as Python's repr, but that characters beyond ASCII
// stay as they are.
std::string quoted(std::string_view text);

}  // namespace pytransformer::text
