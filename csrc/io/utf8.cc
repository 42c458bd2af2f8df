#include "io/utf8.h"

#include <cstdint>
#include <cstring>

namespace pytransformer::io {
namespace {

bool is_ascii(const char* eight_bytes) {
  uint64_t bytes;
  std::memcpy(&bytes, eight_bytes, sizeof bytes);
  return (bytes & 0x8080808080808080) == 0;
}

}  // namespace

size_t first_utf8_length(std::string_view text) {
  if (text.empty()) return 0;
  const auto byte = [&](size_t i) { return static_cast<unsigned char>(text[i]); };
  const unsigned char first = byte(0);
  if (first < 0x80) return 1;
  const size_t length = first < 0xE0 ? 2 : first < 0xF0 ? 3 : 4;
  if (first < 0xC2 || first > 0xF4 || text.size() < length) return 0;
  for (size_t i = 1; i < length; ++i) {
    if ((byte(i) & 0xC0) != 0x80) return 0;
  }
  // The second byte tells too long forms, surrogates and what lies beyond U+10FFFF.
  const unsigned char least = first == 0xE0 ? 0xA0 : first == 0xF0 ? 0x90 : 0x80;
  const unsigned char most = first == 0xED ? 0x9F : first == 0xF4 ? 0x8F : 0xBF;
  return byte(1) < least || byte(1) > most ? 0 : length;
}

size_t find_invalid_utf8(std::string_view text) {
  for (size_t place = 0; place < text.size();) {
    if (text.size() - place >= 8 && is_ascii(text.data() + place)) {
      place += 8;
      continue;
    }
    const size_t length = first_utf8_length(text.substr(place));
    if (length == 0) return place;
    place += length;
  }
  return std::string_view::npos;
}

}  // namespace pytransformer::io
