#include "decode/phrases.h"

#include <algorithm>
#include <set>

namespace pytransformer::decode {
namespace {

// The longest part of the phrase that ends with `token` behind `matched` of its tokens.
int32_t extended(const std::vector<int32_t>& phrase, const std::vector<int32_t>& border,
                 int32_t matched, int32_t token) {
  while (matched > 0 && phrase[static_cast<size_t>(matched)] != token) {
    matched = border[static_cast<size_t>(matched)];
  }
  return phrase[static_cast<size_t>(matched)] == token ? matched + 1 : 0;
}

}  // namespace

Phrases::Phrases(const std::vector<std::vector<int32_t>>& phrases) {
  const std::set<std::vector<int32_t>> unique(phrases.begin(), phrases.end());
  for (const std::vector<int32_t>& tokens : unique) {
    Phrase phrase = {tokens, std::vector<int32_t>(tokens.size() + 1, 0)};
    for (size_t i = 1; i < tokens.size(); ++i) {
      phrase.border[i + 1] = extended(tokens, phrase.border, phrase.border[i], tokens[i]);
    }
    phrases_.push_back(std::move(phrase));
  }
}

bool Phrases::complete(const Progress& progress, size_t phrase) const {
  return static_cast<size_t>(progress[phrase]) == phrases_[phrase].tokens.size();
}

void Phrases::advance(Progress& progress, int32_t token) const {
  for (size_t i = 0; i < phrases_.size(); ++i) {
    if (complete(progress, i)) continue;
    progress[i] = extended(phrases_[i].tokens, phrases_[i].border, progress[i], token);
  }
}

int32_t Phrases::farthest(const Progress& progress) const {
  int32_t most = 0;
  for (size_t i = 0; i < phrases_.size(); ++i) {
    if (!complete(progress, i)) most = std::max(most, progress[i]);
  }
  return most;
}

int32_t Phrases::need(const Progress& progress) const {
  int32_t tokens = 0;
  for (size_t i = 0; i < phrases_.size(); ++i) {
    if (!complete(progress, i)) tokens += static_cast<int32_t>(phrases_[i].tokens.size());
  }
  return tokens - farthest(progress);
}

void Phrases::next_tokens(const Progress& progress, std::vector<int32_t>& tokens) const {
  const int32_t most = farthest(progress);
  for (size_t i = 0; i < phrases_.size(); ++i) {
    if (complete(progress, i) || progress[i] != most) continue;
    tokens.push_back(phrases_[i].tokens[static_cast<size_t>(most)]);
  }
}

}  // namespace pytransformer::decode
