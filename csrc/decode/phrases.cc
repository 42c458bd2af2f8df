#include "decode/phrases.h"

#include <algorithm>
#include <set>
#include <utility>

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

Phrases::Phrases(const std::vector<std::vector<int32_t>>& phrases,
                 const std::vector<std::vector<int32_t>>& words,
                 std::shared_ptr<const std::vector<int32_t>> continuations)
    : continuations_(std::move(continuations)) {
  add(phrases, false);
  add(words, true);
}

void Phrases::add(const std::vector<std::vector<int32_t>>& phrases, bool whole_words) {
  const std::set<std::vector<int32_t>> unique(phrases.begin(), phrases.end());
  for (const std::vector<int32_t>& tokens : unique) {
    Phrase phrase = {tokens, whole_words, std::vector<int32_t>(tokens.size() + 1, 0)};
    for (size_t i = 1; i < tokens.size(); ++i) {
      phrase.border[i + 1] = extended(tokens, phrase.border, phrase.border[i], tokens[i]);
    }
    phrases_.push_back(std::move(phrase));
  }
}

bool Phrases::complete(const Progress& progress, size_t phrase) const {
  return static_cast<size_t>(progress[phrase]) >= phrases_[phrase].tokens.size();
}

bool Phrases::continues_word(int32_t token) const {
  return continuations_ != nullptr &&
         std::binary_search(continuations_->begin(), continuations_->end(), token);
}

bool Phrases::word_may_go_on(const Progress& progress) const {
  for (size_t i = 0; i < phrases_.size(); ++i) {
    const bool just_said = static_cast<size_t>(progress[i]) == phrases_[i].tokens.size();
    if (just_said && phrases_[i].whole_words) return true;
  }
  return false;
}

void Phrases::advance(Progress& progress, int32_t token) const {
  for (size_t i = 0; i < phrases_.size(); ++i) {
    const Phrase& phrase = phrases_[i];
    int32_t matched = progress[i];
    if (complete(progress, i)) {
      const bool just_said = static_cast<size_t>(matched) == phrase.tokens.size();
      if (!just_said || !phrase.whole_words) continue;
      if (!continues_word(token)) {
        ++progress[i];
        continue;
      }
      matched = phrase.border[phrase.tokens.size()];
    }
    progress[i] = extended(phrase.tokens, phrase.border, matched, token);
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

void Phrases::matching_tokens(const Progress& progress, std::vector<int32_t>& tokens) const {
  for (size_t i = 0; i < phrases_.size(); ++i) {
    if (complete(progress, i)) continue;
    const Phrase& phrase = phrases_[i];
    int32_t matched = progress[i];
    for (; matched > 0; matched = phrase.border[static_cast<size_t>(matched)]) {
      tokens.push_back(phrase.tokens[static_cast<size_t>(matched)]);
    }
    tokens.push_back(phrase.tokens.front());
  }
}

}  // namespace pytransformer::decode
