#include "text/added_tokens.h"

#include <algorithm>
#include <map>
#include <utility>

#include "text/settings.h"

namespace pytransformer::text {
namespace {

unsigned char to_byte(char character) { return static_cast<unsigned char>(character); }

bool is_letter_or_digit(char c) {
  return (c >= '0' && c <= '9') || (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z');
}

// A byte of the token that hardly any text holds, as far as it has one.
unsigned char sign_of(std::string_view token) {
  const auto rare = std::ranges::find_if_not(token, is_letter_or_digit);
  return to_byte(rare == token.end() ? token.front() : *rare);
}

}  // namespace

std::vector<AddedToken> read_added_tokens(const io::Json& settings) {
  std::vector<AddedToken> tokens;
  for (const io::Json& token : settings.at("added_tokens").as_array("added_tokens")) {
    tokens.push_back({string(token, "content"), id(token, "id"), flag(token, "special"),
                      flag(token, "lstrip"), flag(token, "rstrip"),
                      find_flag(token, "normalized")});
  }
  return tokens;
}

AddedTokens::AddedTokens(const std::vector<AddedToken>& tokens, Spaces spaces,
                         const Normalise& normalise)
    : spaces_(spaces) {
  std::map<std::string, AddedToken> written;  // of several that are written alike the last counts
  for (const AddedToken& token : tokens) {
    written.insert_or_assign(normalise ? normalise(token.content) : token.content, token);
  }
  written.erase("");
  std::vector<std::string> texts;
  for (auto& [text, token] : written) {
    is_sign_[sign_of(text)] = true;
    texts.push_back(text);
    tokens_.push_back(std::move(token));
  }
  matcher_ = PrefixMatcher(texts);
}

void AddedTokens::cut(std::string_view text, const Take& take) const {
  size_t begin = 0;  // of the part before the next token
  bool strips = false;
  const auto take_part = [&](size_t end, bool strips_end) {
    std::string_view part = text.substr(begin, end - begin);
    if (strips) part = without_leading_space(part, spaces_);
    if (strips_end) part = without_trailing_space(part, spaces_);
    if (!part.empty()) take(part, nullptr);
  };
  for (size_t place = may_hold_tokens(text) ? 0 : text.size(); place < text.size();) {
    const PrefixMatcher::Entry* const found = matcher_.longest(text.substr(place));
    if (found == nullptr) {
      ++place;
      continue;
    }
    const AddedToken& token = tokens_[found->number];
    take_part(place, token.lstrip);
    if (!token.content.empty()) take(token.content, &token);
    place += found->text.size();
    begin = place;
    strips = token.rstrip;
  }
  take_part(text.size(), false);
}

bool AddedTokens::may_hold_tokens(std::string_view text) const {
  return !tokens_.empty() &&
         std::ranges::any_of(text, [&](char byte) { return is_sign_[to_byte(byte)]; });
}

}  // namespace pytransformer::text
