// Three ways to cut text into tokens and to join tokens: words, pairs of bytes, sentencepiece.
#pragma once

#include <functional>
#include <memory>
#include <span>
#include <string>
#include <string_view>

namespace pytransformer::text {

// Cuts text into tokens. The methods may be called from several threads at once.
class Cutter {
 public:
  virtual ~Cutter() = default;

  // Hands over the tokens of a text one after another.
  using Take = std::function<void(std::string_view token)>;
  virtual void cut(std::string_view text, const Take& take) const = 0;
  virtual std::string join(std::span<const std::string_view> tokens) const = 0;
};

// Hands over what stands between white space.
void cut_words(std::string_view text, const Cutter::Take& take);

// Tokens are what stands between white space.
std::unique_ptr<const Cutter> word_cutter();

// Byte pair encoding of words, by the content of a file of codes, which need not outlive it. Throws
// CheckpointError.
std::unique_ptr<const Cutter> merged_pairs_cutter(std::string_view codes);

// The pieces of a sentencepiece model, by its file's content, which must outlive it. Throws
// CheckpointError.
std::unique_ptr<const Cutter> pieces_cutter(std::string_view model);

}  // namespace pytransformer::text
