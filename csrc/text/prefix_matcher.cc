#include "text/prefix_matcher.h"

#include <algorithm>

namespace pytransformer::text {
namespace {

unsigned char first_byte(std::string_view text) { return static_cast<unsigned char>(text.front()); }

}  // namespace

PrefixMatcher::PrefixMatcher(const std::vector<std::string>& texts) {
  for (size_t i = 0; i < texts.size(); ++i) {
    entries_.push_back({texts[i], i});
    ++begins_[first_byte(texts[i]) + 1u];
  }
  for (size_t byte = 1; byte < begins_.size(); ++byte) begins_[byte] += begins_[byte - 1];
  std::ranges::sort(entries_, [](const Entry& one, const Entry& other) {
    const unsigned char first = first_byte(one.text), second = first_byte(other.text);
    return first != second ? first < second : one.text.size() > other.text.size();
  });
}

const PrefixMatcher::Entry* PrefixMatcher::longest(std::string_view text) const {
  if (text.empty()) return nullptr;
  const size_t byte = first_byte(text);
  for (size_t i = begins_[byte]; i < begins_[byte + 1]; ++i) {
    if (text.starts_with(entries_[i].text)) return &entries_[i];
  }
  return nullptr;
}

}  // namespace pytransformer::text
