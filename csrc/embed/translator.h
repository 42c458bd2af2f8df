// A model and the engine that runs it: sentences in, hypotheses out.
#pragma once

#include <functional>
#include <memory>
#include <span>
#include <vector>

#include "decode/engine.h"
#include "embed/model.h"
#include "embed/options.h"
#include "embed/result.h"

namespace pytransformer::embed {

// One sentence on its way to the engine.
struct Sentence {
  Ids source;  // with the end token
  Ids prefix;
  size_t owner = 0;  // of which input it is a part, for messages
};

// May be called from several threads.
class Translator {
 public:
  Translator(std::shared_ptr<const io::NativeFile> file, const pytransformer_settings* settings);

  const Model& model() const { return model_; }
  const decode::Engine& engine() const { return engine_; }
  // Positions of the model, without end: 0.
  int64_t max_source_length() const;
  int64_t max_decoding_length() const;

  Result translate_tokens(std::span<const pytransformer_tokens> sources,
                          const pytransformer_tokens* prefixes,
                          const pytransformer_options* options);
  Result translate_ids(std::span<const pytransformer_ids> sources,
                       const pytransformer_ids* prefixes, const pytransformer_options* options);

  // Tokens that are certain, by the index of their sentence; false ends the call.
  using Listener = std::function<bool(const decode::TokenEvent&)>;

  // Translates all sentences but those that are equal to `nothing`, whose hypotheses are empty.
  // Throws Fault for one that is too long, and what the engine throws.
  std::vector<decode::Translation> run(std::vector<Sentence> sentences, const Ids& nothing,
                                       const Decoding& decoding, const Listener& listener);

 private:
  void fit(Sentence& sentence, const Decoding& decoding) const;
  decode::Request request(Sentence& sentence, const Decoding& decoding) const;

  const Model model_;
  decode::Engine engine_;
};

}  // namespace pytransformer::embed
