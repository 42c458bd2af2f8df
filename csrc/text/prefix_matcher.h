// Finds which of some texts another one begins with.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace pytransformer::text {

class PrefixMatcher {
 public:
  struct Entry {
    std::string text;
    size_t number;  // among the texts
  };

  // The texts are all different and none is empty.
  explicit PrefixMatcher(const std::vector<std::string>& texts = {});

  bool empty() const { return entries_.empty(); }
  // The longest one that `text` begins with, null if there is none.
  const Entry* longest(std::string_view text) const;

 private:
  std::vector<Entry> entries_;          // by first byte, then the longest first
  std::array<uint32_t, 257> begins_{};  // where those with a first byte begin
};

}  // namespace pytransformer::text
