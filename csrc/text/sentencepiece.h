// Cuts text by the models of sentencepiece, and joins it again: the same pieces and the same text
// as that library's version 0.2.3. (Its versions differ where several ways to cut a text are
// equally good, so a program that is to give the same ids as another one cannot take any.)
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>

#include "text/normalizer.h"
#include "text/piece_table.h"
#include "text/segmenter.h"

namespace pytransformer::text {

// A model. The methods may be called from several threads at once; they throw CheckpointError if
// its map of characters turns out to be broken.
class SentencePiece {
 public:
  // The file's content must outlive it. Throws std::runtime_error if the file contradicts itself.
  explicit SentencePiece(const SentencePieceFile& file);

  // Hands over the pieces of a text one after another. What no piece covers is a piece by itself
  // with the unknown one's id.
  using Take = std::function<void(std::string_view piece, int32_t id)>;
  void cut(std::string_view text, const Take& take) const;
  // The text of pieces, others than the model's too.
  std::string join(std::span<const std::string_view> pieces) const;

  int32_t size() const { return table_.size(); }
  std::string_view piece(int32_t id) const { return table_.text(id); }  // 0 to size() - 1
  // The unknown piece's id for what is no piece.
  int32_t id(std::string_view piece) const { return table_.id(piece); }
  int32_t unknown_id() const { return table_.unknown(); }  // -1 if there is none
  int32_t end_id() const { return end_; }                  // -1 if there is none

 private:
  // Appends a piece's text; returns whether that lost a space which the normalisation had added.
  bool append(std::string_view piece, int32_t id, bool is_first, std::string& text) const;

  PieceTable table_;
  PrefixMatcher user_defined_;
  std::unique_ptr<const Segmenter> segmenter_;
  Normalizer normalizer_;
  std::optional<Normalizer> denormalizer_;
  bool adds_space_, removes_spaces_;
  int32_t end_;
  std::string unknown_text_;
};

// Throws CheckpointError that names the file if `content`, which must outlive the model, is none.
std::unique_ptr<const SentencePiece> open_sentencepiece(std::string_view content,
                                                        std::string_view name);

}  // namespace pytransformer::text
