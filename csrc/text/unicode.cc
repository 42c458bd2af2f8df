#include "text/unicode.h"

#include <algorithm>
#include <cstdio>

#include "io/utf8.h"
#include "text/errors.h"

namespace pytransformer::text {
namespace {

constexpr size_t kNone = std::string_view::npos;

unsigned char byte_at(std::string_view text, size_t place) {
  return static_cast<unsigned char>(text[place]);
}

bool continues(std::string_view text, size_t place) {
  return place < text.size() && (byte_at(text, place) & 0xC0) == 0x80;
}

// Whether what stands at a place would be a surrogate's character.
bool is_surrogate(std::string_view text, size_t place) {
  return byte_at(text, place) == 0xED && continues(text, place + 1) && continues(text, place + 2);
}

std::string hexadecimal(const char* form, unsigned value) {
  char text[16];
  std::snprintf(text, sizeof text, form, value);
  return text;
}

}  // namespace

void check_text(std::string_view text) {
  const size_t place = io::find_invalid_utf8(text);
  if (place == kNone) return;
  if (is_surrogate(text, place)) {
    throw OptionError("text is not valid Unicode: character " +
                      std::to_string(count_characters(text.substr(0, place))) +
                      " is the lone surrogate U+" +
                      hexadecimal("%04X", static_cast<unsigned>(character_at(text, place))));
  }
  throw OptionError("text is not UTF-8: byte " + std::to_string(place) + " is " +
                    hexadecimal("0x%02x", byte_at(text, place)));
}

size_t character_length(std::string_view text, size_t place) {
  const unsigned char first = byte_at(text, place);
  const size_t length = first < 0x80 ? 1 : first < 0xE0 ? 2 : first < 0xF0 ? 3 : 4;
  return std::min(length, text.size() - place);
}

char32_t character_at(std::string_view text, size_t place) {
  const size_t length = character_length(text, place);
  char32_t character = byte_at(text, place) & (length == 1 ? 0x7F : 0xFF >> (length + 1));
  for (size_t i = 1; i < length; ++i)
    character = character << 6 | (byte_at(text, place + i) & 0x3F);
  return character;
}

size_t count_characters(std::string_view text) {
  return static_cast<size_t>(std::ranges::count_if(
      text, [](char byte) { return (static_cast<unsigned char>(byte) & 0xC0) != 0x80; }));
}

std::string latin1_character(unsigned char byte) {
  if (byte < 0x80) return std::string(1, static_cast<char>(byte));
  return {static_cast<char>(0xC0 | byte >> 6), static_cast<char>(0x80 | (byte & 0x3F))};
}

bool is_space(char32_t character, Spaces spaces) {
  if (character >= 0x1C && character <= 0x1F) return spaces == Spaces::python;
  if (character < 0x80) return character == ' ' || (character >= '\t' && character <= '\r');
  return character == 0x85 || character == 0xA0 || character == 0x1680 ||
         (character >= 0x2000 && character <= 0x200A) || character == 0x2028 ||
         character == 0x2029 || character == 0x202F || character == 0x205F || character == 0x3000;
}

std::string_view without_leading_space(std::string_view text, Spaces spaces) {
  return text.substr(skip_space(text, 0, spaces));
}

std::string_view without_trailing_space(std::string_view text, Spaces spaces) {
  while (!text.empty()) {
    size_t last = text.size() - 1;
    while (last > 0 && continues(text, last)) --last;
    if (!is_space(character_at(text, last), spaces)) break;
    text = text.substr(0, last);
  }
  return text;
}

bool is_blank(std::string_view text) { return without_leading_space(text).empty(); }

size_t find_space(std::string_view text, size_t place, Spaces spaces) {
  while (place < text.size() && !is_space(character_at(text, place), spaces)) {
    place += character_length(text, place);
  }
  return place;
}

size_t skip_space(std::string_view text, size_t place, Spaces spaces) {
  while (place < text.size() && is_space(character_at(text, place), spaces)) {
    place += character_length(text, place);
  }
  return place;
}

std::string quoted(std::string_view text) {
  const bool is_valid = io::find_invalid_utf8(text) == kNone;
  const bool has_single = text.find('\'') != kNone;
  const char mark = has_single && text.find('"') == kNone ? '"' : '\'';
  constexpr std::string_view kNamed = "\\\n\r\t";
  constexpr std::string_view kNames = "\\nrt";
  std::string result(1, mark);
  for (size_t place = 0; place < text.size(); ++place) {
    const unsigned char byte = byte_at(text, place);
    if (const size_t named = kNamed.find(text[place]); named != kNone) {
      result += {'\\', kNames[named]};
    } else if (text[place] == mark) {
      result += {'\\', mark};
    } else if (byte < 0x20 || byte == 0x7F || (byte > 0x7F && !is_valid)) {
      result += hexadecimal("\\x%02x", byte);
    } else {
      result += text[place];
    }
  }
  return result + mark;
}

}  // namespace pytransformer::text
