#include "text/cutters.h"

#include "text/sentencepiece.h"
#include "text/unicode.h"

namespace pytransformer::text {
namespace {

class Words : public Cutter {
 public:
  void cut(std::string_view text, const Take& take) const override { cut_words(text, take); }

  std::string join(std::span<const std::string_view> tokens) const override {
    std::string text;
    for (size_t i = 0; i < tokens.size(); ++i) text.append(i == 0 ? "" : " ").append(tokens[i]);
    return text;
  }
};

class PieceCutter : public Cutter {
 public:
  explicit PieceCutter(std::string_view model)
      : processor_(open_sentencepiece(model, "a file beside the vocabularies")) {}

  void cut(std::string_view text, const Take& take) const override {
    processor_->cut(text, [&](std::string_view piece, int32_t) { take(piece); });
  }

  std::string join(std::span<const std::string_view> tokens) const override {
    return processor_->join(tokens);
  }

 private:
  std::unique_ptr<const SentencePiece> processor_;
};

}  // namespace

void cut_words(std::string_view text, const Cutter::Take& take) {
  for (size_t place = skip_space(text, 0, Spaces::python); place < text.size();) {
    const size_t end = find_space(text, place, Spaces::python);
    take(text.substr(place, end - place));
    place = skip_space(text, end, Spaces::python);
  }
}

std::unique_ptr<const Cutter> word_cutter() { return std::make_unique<const Words>(); }

std::unique_ptr<const Cutter> pieces_cutter(std::string_view model) {
  return std::make_unique<const PieceCutter>(model);
}

}  // namespace pytransformer::text
