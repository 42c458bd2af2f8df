#include "text/character_map.h"

#include <optional>

#include "text/graphemes.h"
#include "text/unicode.h"

namespace pytransformer::text {
namespace {

constexpr size_t kShort = 6;  // bytes

}  // namespace

std::string mapped(std::string_view text, const CharacterTrie& characters) {
  std::string result;
  result.reserve(text.size());
  for (size_t place = 0; place < text.size();) {
    const size_t several = several_characters(text, place);
    const std::string_view whole = text.substr(place, several);
    if (!whole.empty() && whole.size() < kShort) {
      if (const auto found = characters.shortest(whole)) {
        result += found->replacement;
        place += several;
        continue;
      }
    }
    const size_t end = place + (several == 0 ? character_length(text, place) : several);
    while (place < end) {
      const std::string_view character = text.substr(place, character_length(text, place));
      const auto found = characters.shortest(character);
      result += found ? found->replacement : character;
      place += character.size();
    }
  }
  return result;
}

}  // namespace pytransformer::text
