#include "text/character_trie.h"

#include <algorithm>
#include <cstring>
#include <utility>
#include <vector>

#include "io/utf8.h"
#include "text/errors.h"

namespace pytransformer::text {
namespace {

constexpr size_t kLongest = 1024;  // bytes of what replaces a sequence; Unicode's longest has 33

[[noreturn]] void broken() { throw CheckpointError("the tokenizer's normalisation is broken"); }

}  // namespace

// One node. The child for a byte lies at the node's place xor its offset xor the byte.
struct CharacterTrie::Unit {
  uint32_t bits;

  uint32_t offset() const { return (bits >> 10) << ((bits & 0x200) >> 6); }
  // The byte that leads here; above 255 for a leaf, which holds a value.
  uint32_t label() const { return bits & 0x800000FF; }
  // Whether a sequence ends here; its leaf is the child for byte 0.
  bool has_leaf() const { return (bits & 0x100) != 0; }
  uint32_t value() const { return bits & 0x7FFFFFFF; }
};

CharacterTrie::CharacterTrie(std::string_view content) {
  uint32_t size = 0;
  if (content.size() < sizeof size) broken();
  std::memcpy(&size, content.data(), sizeof size);
  content.remove_prefix(sizeof size);
  if (size % sizeof(Unit) != 0 || size > content.size()) broken();
  units_ = content.substr(0, size);
  texts_ = content.substr(size);
}

void CharacterTrie::check(size_t most_sequences) const {
  constexpr size_t kBlock = 256;
  const size_t count = units_.size() / sizeof(Unit);
  if (count == 0 || count % kBlock != 0) broken();
  // Children of one node by the place where the child for byte 0 lies: the last, and those before.
  std::vector<size_t> last(count, count), before(count);
  for (size_t place = 0; place < count; ++place) {
    const uint32_t label = unit(place).label();
    if (label < kBlock) before[place] = std::exchange(last[place ^ label], place);
  }
  // How many sequences end at most on the ways to a node, and one more; 0 where none leads.
  std::vector<size_t> reached(count);
  std::vector<size_t> open{0};
  reached[0] = 1;
  while (!open.empty()) {
    const size_t node = open.back();
    open.pop_back();
    const size_t children = node ^ unit(node).offset();
    if (children >= count) broken();
    for (size_t child = last[children]; child != count; child = before[child]) {
      const size_t sequences = reached[node] + (unit(child).has_leaf() ? 1 : 0);
      if (sequences > most_sequences + 1) broken();
      if (reached[child] >= sequences) continue;
      reached[child] = sequences;
      open.push_back(child);
      if (!unit(child).has_leaf()) continue;
      const uint32_t text = unit(child ^ unit(child).offset()).value();
      if (text > texts_.size()) broken();
      text_at(text);
    }
  }
}

std::optional<CharacterTrie::Match> CharacterTrie::find(std::string_view text, bool goes_on) const {
  size_t found_length = 0, found_leaf = 0;
  size_t place = unit(0).offset();
  for (size_t i = 0; i < text.size() && text[i] != '\0'; ++i) {
    place ^= static_cast<unsigned char>(text[i]);
    const Unit node = unit(place);
    if (node.label() != static_cast<unsigned char>(text[i])) break;
    place ^= node.offset();
    if (!node.has_leaf()) continue;
    found_length = i + 1;
    found_leaf = place;
    if (!goes_on) break;
  }
  if (found_length == 0) return std::nullopt;
  return Match{found_length, text_at(unit(found_leaf).value())};
}

CharacterTrie::Unit CharacterTrie::unit(size_t place) const {
  if (place >= units_.size() / sizeof(Unit)) broken();
  Unit result;
  std::memcpy(&result, units_.data() + place * sizeof result, sizeof result);
  return result;
}

std::string_view CharacterTrie::text_at(size_t begin) const {
  const std::string_view rest = texts_.substr(std::min(begin, texts_.size()));
  const size_t end = rest.substr(0, kLongest).find('\0');
  if (end == std::string_view::npos && rest.size() > kLongest) broken();
  const std::string_view text = rest.substr(0, end);
  if (io::find_invalid_utf8(text) != std::string_view::npos) broken();
  return text;
}

}  // namespace pytransformer::text
