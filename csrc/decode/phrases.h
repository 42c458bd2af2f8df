// Phrases that a translation must hold, and how far a hypothesis has come with them.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <vector>

namespace pytransformer::decode {

class Phrases {
 public:
  // How many tokens of each phrase a hypothesis ends with; all of them once it has been said. One
  // more says that no token can undo that.
  using Progress = std::vector<int32_t>;

  // The last word of a phrase in `words` must end with it: no token of `continuations` (sorted; may
  // be null) may stand behind it.
  Phrases(const std::vector<std::vector<int32_t>>& phrases,
          const std::vector<std::vector<int32_t>>& words,
          std::shared_ptr<const std::vector<int32_t>> continuations);

  bool empty() const { return phrases_.empty(); }
  Progress start() const { return Progress(phrases_.size(), 0); }
  void advance(Progress& progress, int32_t token) const;
  // Tokens that would say all that is missing, the phrase that has come farthest first.
  int32_t need(const Progress& progress) const;
  int32_t need_at_start() const { return need(start()); }
  // Whether a phrase has just been said whose last word might go on.
  bool word_may_go_on(const Progress& progress) const;
  // Appends the tokens with which a missing phrase goes on or begins anew. Behind any other token
  // the need is the same.
  void matching_tokens(const Progress& progress, std::vector<int32_t>& tokens) const;

 private:
  struct Phrase {
    std::vector<int32_t> tokens;
    bool whole_words;
    // By matched tokens: the longest proper border of that part (Knuth, Morris and Pratt 1977).
    std::vector<int32_t> border;
  };

  void add(const std::vector<std::vector<int32_t>>& phrases, bool whole_words);
  bool complete(const Progress& progress, size_t phrase) const;
  bool continues_word(int32_t token) const;
  int32_t farthest(const Progress& progress) const;

  std::vector<Phrase> phrases_;
  std::shared_ptr<const std::vector<int32_t>> continuations_;
};

}  // namespace pytransformer::decode
