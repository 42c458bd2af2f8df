#include "decode/token_rules.h"

#include <algorithm>

#include "decode/history.h"

namespace pytransformer::decode {
namespace {

bool contains(const std::vector<int32_t>& sorted, int32_t token) {
  return std::binary_search(sorted.begin(), sorted.end(), token);
}

// One entry for each token, in order, that holds all that is said of it.
void unite(std::vector<AsideToken>& tokens) {
  std::sort(tokens.begin(), tokens.end(),
            [](const AsideToken& a, const AsideToken& b) { return a.id < b.id; });
  size_t kept = 0;
  for (size_t i = 0; i < tokens.size(); ++i) {
    if (kept > 0 && tokens[kept - 1].id == tokens[i].id) {
      tokens[kept - 1].forbidden |= tokens[i].forbidden;
      tokens[kept - 1].repeated |= tokens[i].repeated;
    } else {
      tokens[kept++] = tokens[i];
    }
  }
  tokens.resize(kept);
}

}  // namespace

TokenRules::TokenRules(const SearchOptions& options)
    : options_(options),
      needs_history_(options.no_repeat_ngram_size > 0 || options.repetition_penalty != 1.0f ||
                     !options.suppress_sequences.empty()),
      ends_(options.end_token_ids),
      suppressed_(options.suppress_token_ids) {
  std::sort(ends_.begin(), ends_.end());
  std::sort(suppressed_.begin(), suppressed_.end());
  suppressed_.erase(std::unique(suppressed_.begin(), suppressed_.end()), suppressed_.end());
}

bool TokenRules::is_end(int32_t token) const { return contains(ends_, token); }

bool TokenRules::is_suppressed(int32_t token) const { return contains(suppressed_, token); }

void TokenRules::collect(std::span<const int32_t> history, bool may_end,
                         std::span<const int32_t> wanted, bool required,
                         std::vector<AsideToken>& tokens) {
  tokens.clear();
  for (const int32_t id : suppressed_) tokens.push_back({id, true, false});
  const bool plain = may_end && wanted.empty() && !needs_history_;
  if (plain) return;
  if (!may_end) {
    for (const int32_t id : ends_) tokens.push_back({id, true, false});
  }
  for (const int32_t id : wanted) tokens.push_back({id, false, false});
  scratch_.clear();
  repeated_ngrams(history, options_.no_repeat_ngram_size, scratch_);
  if (required) {
    std::erase_if(scratch_, [&](int32_t id) {
      return std::find(wanted.begin(), wanted.end(), id) != wanted.end();
    });
  }
  last_tokens(history, options_.suppress_sequences, scratch_);
  for (const int32_t id : scratch_) tokens.push_back({id, true, false});
  if (options_.repetition_penalty != 1.0f) {
    for (const int32_t id : history) tokens.push_back({id, false, true});
  }
  unite(tokens);
}

}  // namespace pytransformer::decode
