// Phrases that a translation must hold, and how far a hypothesis has come with them.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

namespace pytransformer::decode {

class Phrases {
 public:
  // How many tokens of each phrase a hypothesis ends with; all of them once it has been said.
  using Progress = std::vector<int32_t>;

  explicit Phrases(const std::vector<std::vector<int32_t>>& phrases);

  bool empty() const { return phrases_.empty(); }
  Progress start() const { return Progress(phrases_.size(), 0); }
  void advance(Progress& progress, int32_t token) const;
  // Tokens that would say all that is missing, the phrase that has come farthest first.
  int32_t need(const Progress& progress) const;
  int32_t need_at_start() const { return need(start()); }
  // Appends the tokens that lessen the need.
  void next_tokens(const Progress& progress, std::vector<int32_t>& tokens) const;

 private:
  struct Phrase {
    std::vector<int32_t> tokens;
    // By matched tokens: the longest proper border of that part (Knuth, Morris and Pratt 1977).
    std::vector<int32_t> border;
  };

  bool complete(const Progress& progress, size_t phrase) const;
  int32_t farthest(const Progress& progress) const;

  std::vector<Phrase> phrases_;
};

}  // namespace pytransformer::decode
