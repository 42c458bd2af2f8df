// Which tokens of a row are kept out of the model's candidates: those that are forbidden, and those
// whose score an option changes.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "decode/options.h"

namespace pytransformer::decode {

struct AsideToken {
  int32_t id;
  bool forbidden;
  bool repeated;  // it stands in the history
};

class TokenRules {
 public:
  explicit TokenRules(const SearchOptions& options);

  // Whether rows differ in more than whether they may end.
  bool needs_history() const { return needs_history_; }
  bool is_end(int32_t token) const;
  bool is_suppressed(int32_t token) const;

  // What is set aside for a row, in order of ids. `history` begins with the start token (empty
  // unless needed). `wanted` tokens are set aside so that their logits become known; those that are
  // `required` no rule about repetition forbids.
  void collect(std::span<const int32_t> history, bool may_end, std::span<const int32_t> wanted,
               bool required, std::vector<AsideToken>& tokens);

 private:
  const SearchOptions& options_;
  const bool needs_history_;
  std::vector<int32_t> ends_;        // sorted
  std::vector<int32_t> suppressed_;  // sorted: forbidden in every row
  std::vector<int32_t> scratch_;
};

}  // namespace pytransformer::decode
