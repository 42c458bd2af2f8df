// Cuts text by the models of sentencepiece, and joins it again.
//
// There are two that do: the engine itself (sentencepiece_own.cc), which gives the same pieces and
// the same text as version 0.2.3 of that library, and the system's library, whichever version that
// is (sentencepiece_library.cc). The build takes one. Versions differ where several ways to cut a
// text are equally good, so a program that is to give the same ids as another one cannot take any.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <string>
#include <string_view>

namespace pytransformer::text {

// A model. The methods may be called from several threads at once; they throw CheckpointError where
// a model shows only then that it is broken.
class SentencePiece {
 public:
  virtual ~SentencePiece() = default;

  // Hands over the pieces of a text one after another. What no piece covers is a piece by itself
  // with the unknown one's id.
  using Take = std::function<void(std::string_view piece, int32_t id)>;
  virtual void cut(std::string_view text, const Take& take) const = 0;
  // The text of pieces, others than the model's too.
  virtual std::string join(std::span<const std::string_view> pieces) const = 0;

  virtual int32_t size() const = 0;
  virtual std::string_view piece(int32_t id) const = 0;  // 0 to size() - 1
  // The unknown piece's id for what is no piece.
  virtual int32_t id(std::string_view piece) const = 0;
  virtual int32_t unknown_id() const = 0;  // -1 if there is none
  virtual int32_t end_id() const = 0;      // -1 if there is none
};

// Throws CheckpointError that names the file if `content`, which must outlive the model, is none.
std::unique_ptr<const SentencePiece> open_sentencepiece(std::string_view content,
                                                        std::string_view name);

}  // namespace pytransformer::text
