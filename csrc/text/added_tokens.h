// Finds the tokens in a text that stand there literally, such as </s> or the name of a language.
#pragma once

#include <array>
#include <cstdint>
#include <functional>
#include <string>
#include <string_view>
#include <vector>

#include "io/json.h"
#include "text/prefix_matcher.h"
#include "text/unicode.h"

namespace pytransformer::text {

// A token of which the settings say more than its text.
struct AddedToken {
  std::string content;
  int32_t id = 0;
  bool special = false;
  bool lstrip = false;  // takes away the white space before it
  bool rstrip = false;  // and behind it
  bool normalized = false;
};

// The setting `added_tokens`. Throws io::JsonError or CheckpointError.
std::vector<AddedToken> read_added_tokens(const io::Json& settings);

// Cuts texts at tokens that are known by their text; of several at a place the longest counts.
class AddedTokens {
 public:
  using Normalise = std::function<std::string(std::string_view)>;
  // `normalise` is what was done to the texts, and so is done to the tokens before they are looked
  // for; nothing if it is empty.
  explicit AddedTokens(const std::vector<AddedToken>& tokens, Spaces spaces = Spaces::library,
                       const Normalise& normalise = {});

  // Hands over the parts of a text, none of them empty: those between tokens with a null, and the
  // tokens by what they are, not by how they are written.
  using Take = std::function<void(std::string_view part, const AddedToken* token)>;
  void cut(std::string_view text, const Take& take) const;

 private:
  bool may_hold_tokens(std::string_view text) const;

  Spaces spaces_;
  std::vector<AddedToken> tokens_;
  PrefixMatcher matcher_;            // how they are written
  std::array<bool, 256> is_sign_{};  // a few bytes of which every token holds one
};

}  // namespace pytransformer::text
