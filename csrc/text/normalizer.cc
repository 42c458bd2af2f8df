#include "text/normalizer.h"

#include <utility>

#include "io/utf8.h"

namespace pytransformer::text {

Normalizer::Normalizer(const NormalizerSpec& spec, bool space_is_behind, PrefixMatcher kept)
    : adds_in_front_(spec.adds_space && !space_is_behind),
      adds_behind_(spec.adds_space && space_is_behind),
      removes_spaces_(spec.removes_spaces),
      space_(spec.marks_spaces ? kMarkedSpace : " "),
      kept_(std::move(kept)) {
  if (!spec.character_map.empty()) characters_.emplace(spec.character_map);
}

std::string Normalizer::operator()(std::string_view text) const {
  std::string result;
  while (removes_spaces_ && !text.empty()) {
    const Step step = first(text);
    if (step.replacement != " ") break;
    text.remove_prefix(step.length);
  }
  if (text.empty()) return result;

  result.reserve(text.size() + text.size() / 2 + 2 * space_.size());
  if (adds_in_front_) result += space_;
  bool follows_space = removes_spaces_;
  while (!text.empty()) {
    const Step step = first(text);
    std::string_view part = step.replacement;
    while (follows_space && part.starts_with(' ')) part.remove_prefix(1);
    if (!part.empty()) follows_space = removes_spaces_ && part.ends_with(' ');
    for (const char c : part) {
      if (c == ' ') {
        result += space_;
      } else {
        result += c;
      }
    }
    text.remove_prefix(step.length);
  }
  while (removes_spaces_ && result.ends_with(space_)) {
    result.resize(result.size() - space_.size());
  }
  if (adds_behind_) result += space_;
  return result;
}

Normalizer::Step Normalizer::first(std::string_view text) const {
  if (!kept_.empty()) {
    if (const PrefixMatcher::Entry* const found = kept_.longest(text)) {
      return {text.substr(0, found->text.size()), found->text.size()};
    }
  }
  if (characters_) {
    if (const auto found = characters_->longest(text)) return {found->replacement, found->length};
  }
  const size_t length = io::first_utf8_length(text);
  if (length == 0) return {"\uFFFD", 1};
  return {text.substr(0, length), length};
}

}  // namespace pytransformer::text
