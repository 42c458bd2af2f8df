// The text of tokens that arrive one after another, as far as later ones cannot change it.
#pragma once

#include <cstddef>
#include <string>
#include <string_view>

#include "embed/options.h"
#include "text/tokenizer.h"

namespace pytransformer::embed {

// A tokenizer may join the last word with what follows (a piece of the same word, a full stop, the
// bytes of one character), so the last word and the space before it are kept back.
class LineStream {
 public:
  // `prefix`: the tokens that the line begins with, which nobody tells of.
  LineStream(const text::Tokenizer& tokenizer, Ids prefix)
      : tokenizer_(&tokenizer), ids_(std::move(prefix)) {}

  bool ended() const { return ended_; }
  // Takes a token that is certain, and its place; a negative one says that none follows.
  void add(int32_t step, int32_t token);
  // What has become certain since the last call.
  std::string take();

 private:
  const text::Tokenizer* tokenizer_;
  Ids ids_;
  bool ended_ = false;
  size_t told_ = 0;  // bytes
};

// The text of ids as one line.
std::string line_of(const text::Tokenizer& tokenizer, const Ids& ids);

}  // namespace pytransformer::embed
