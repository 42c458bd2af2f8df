// What a native file says besides its weights: family, defaults of decoding, tokenizer.
#pragma once

#include <memory>
#include <string>

#include "decode/options.h"
#include "io/native_file.h"
#include "nn/model.h"
#include "text/tokenizer.h"

namespace pytransformer::embed {

// A model that translates, opened.
class Model {
 public:
  // Throws io::FormatError or text::CheckpointError that names the file; Fault for a model of
  // another architecture.
  explicit Model(std::shared_ptr<const io::NativeFile> file);

  const std::shared_ptr<const nn::Model>& weights() const { return weights_; }
  const nn::ModelSpec& spec() const { return weights_->spec(); }
  const std::string& family() const { return family_; }
  // Options that nobody gives: the checkpoint's.
  const decode::SearchOptions& defaults() const { return defaults_; }

  // Throws text::UnsupportedError where this build has none for the model.
  const text::Tokenizer& tokenizer() const;
  // Null where tokenizer() would throw.
  const text::Tokenizer* find_tokenizer() const { return tokenizer_.get(); }

 private:
  void read_generation(const io::Json& json);
  void read_tokenizer(const io::Json& json);

  std::shared_ptr<const nn::Model> weights_;
  std::string family_;
  decode::SearchOptions defaults_;
  std::unique_ptr<const text::Tokenizer> tokenizer_;
  std::string no_tokenizer_;  // why there is none
};

}  // namespace pytransformer::embed
