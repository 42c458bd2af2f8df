// Turns text into the tokens of a model, and tokens into text: the same ids and the same text as
// the Python package's tokenizers, which stand in pytransformer/tokenizers/.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace pytransformer::io {
class Json;
}

namespace pytransformer::text {

// The languages of a call; empty where none is given.
struct Languages {
  std::string_view source;
  std::string_view target;
};

// The contents of a tokenizer's files by their names. They must outlive the tokenizer.
using Files = std::map<std::string, std::string_view, std::less<>>;

// Text and tokens are UTF-8. The methods may be called from several threads at once; they throw
// OptionError for text that is not UTF-8, for a language that the model does not know and for an
// id without a token, and CheckpointError where a file shows only then that it is broken.
class Tokenizer {
 public:
  virtual ~Tokenizer() = default;

  // The ids of a source with the language's prefix and the end token: what Hugging Face gives.
  virtual std::vector<int32_t> encode_ids(std::string_view text, const Languages&) const = 0;
  // The ids of a target text, without the end token.
  virtual std::vector<int32_t> encode_target_ids(std::string_view text) const = 0;
  // Ids of source tokens, unknown ones as <unk>, and of what closes a source if it is not there.
  virtual std::vector<int32_t> source_ids(std::span<const std::string_view> tokens) const = 0;
  // Ids of target tokens, unknown ones as <unk>; adds no end token.
  virtual std::vector<int32_t> target_ids(std::span<const std::string_view> tokens) const = 0;
  virtual std::string source_token(int32_t id) const = 0;
  virtual std::string target_token(int32_t id) const = 0;
  // The text of target ids without the special ones.
  virtual std::string decode(std::span<const int32_t> ids) const = 0;
  // What closes a source: the tokens at its end, or those that it lacks; none in some models.
  virtual std::vector<int32_t> closing(std::span<const int32_t> ids) const = 0;
  // The token that translations into a language must begin with, if the language says so.
  virtual std::optional<int32_t> forced_bos_id(std::string_view language) const = 0;
  // The token before the first one, if the language says so.
  virtual std::optional<int32_t> decoder_start_id(std::string_view language) const = 0;
  virtual std::optional<int32_t> unknown_id() const = 0;
  // The languages by the model's codes, as far as it names them; several targets need one given.
  virtual std::span<const std::string> source_languages() const = 0;
  virtual std::span<const std::string> target_languages() const = 0;
};

// The tokenizer of a native file: its configuration's `tokenizer.kind` and `tokenizer.settings`.
// Throws CheckpointError if a setting or a file is missing or broken, UnsupportedError for a kind
// that is there in Python only.
std::unique_ptr<const Tokenizer> create(std::string_view kind, const io::Json& settings,
                                        const Files& files);

}  // namespace pytransformer::text
