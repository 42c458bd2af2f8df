#include "embed/line_stream.h"

#include <algorithm>
#include <utility>

#include "text/unicode.h"

namespace pytransformer::embed {
namespace {

// A word of a script without spaces may be as long as a line; of what has no space for so many
// characters, only the last ones are kept back: more than the bytes of one character.
constexpr size_t kLongWord = 32;
constexpr size_t kKeptBack = 8;

bool begins_character(char byte) { return (static_cast<unsigned char>(byte) & 0xc0) != 0x80; }

size_t characters(std::string_view text) {
  return static_cast<size_t>(std::ranges::count_if(text, begins_character));
}

// Where the last `count` characters begin.
size_t before_last(std::string_view text, size_t count) {
  size_t place = text.size();
  while (place > 0 && count > 0) {
    if (begins_character(text[--place])) --count;
  }
  return place;
}

// Where the part of a text ends that nothing behind it changes.
size_t certain_end(std::string_view text) {
  size_t space = text.rfind(' ');
  // "n ' t" is written "n't" by some tokenizers, and " 's" loses its space.
  const size_t word = space == std::string_view::npos ? 0 : space + 1;
  if (text.substr(word).starts_with('\'')) {
    space = space == std::string_view::npos || space == 0 ? std::string_view::npos
                                                          : text.rfind(' ', space - 1);
  }
  size_t end = space == std::string_view::npos ? 0 : space;
  if (characters(text.substr(end)) > kLongWord) end = before_last(text, kKeptBack);
  // A text does not end with white space, and the bytes to come may be such.
  return text::without_trailing_space(text.substr(0, end)).size();
}

}  // namespace

std::string line_of(const text::Tokenizer& tokenizer, const Ids& ids) {
  std::string line = tokenizer.decode(ids);
  std::ranges::replace(line, '\n', ' ');
  return line;
}

void LineStream::add(int32_t step, int32_t token) {
  if (token < 0) {
    ended_ = true;
    return;
  }
  ids_.resize(static_cast<size_t>(step));
  ids_.push_back(token);
}

std::string LineStream::take() {
  const std::string line = line_of(*tokenizer_, ids_);
  const size_t end = ended_ ? line.size() : certain_end(line);
  if (end <= told_) return {};
  const size_t begin = std::exchange(told_, end);
  return line.substr(begin, end - begin);
}

}  // namespace pytransformer::embed
