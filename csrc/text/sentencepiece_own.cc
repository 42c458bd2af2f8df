// The engine's own reader of sentencepiece's models.
#include <optional>
#include <stdexcept>

#include "io/utf8.h"
#include "text/clean_up.h"
#include "text/errors.h"
#include "text/normalizer.h"
#include "text/piece_table.h"
#include "text/segmenter.h"
#include "text/sentencepiece.h"

namespace pytransformer::text {
namespace {

// Reads bytes as text; those that are none become U+FFFD each.
void append_bytes(std::string_view bytes, std::string& text) {
  while (!bytes.empty()) {
    const size_t length = io::first_utf8_length(bytes);
    text += length == 0 ? "\uFFFD" : bytes.substr(0, length);
    bytes.remove_prefix(length == 0 ? 1 : length);
  }
}

int32_t control_id(const PieceTable& table, std::string_view piece) {
  const int32_t id = table.id(piece);
  return id >= 0 && table.type(id) == PieceType::control ? id : -1;
}

class OwnSentencePiece : public SentencePiece {
 public:
  // The file's content must outlive it. Throws std::runtime_error if the file contradicts itself.
  explicit OwnSentencePiece(const SentencePieceFile& file);

  void cut(std::string_view text, const Take& take) const override;
  std::string join(std::span<const std::string_view> pieces) const override;

  int32_t size() const override { return table_.size(); }
  std::string_view piece(int32_t id) const override { return table_.text(id); }
  int32_t id(std::string_view piece) const override { return table_.id(piece); }
  int32_t unknown_id() const override { return table_.unknown(); }
  int32_t end_id() const override { return end_; }

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

OwnSentencePiece::OwnSentencePiece(const SentencePieceFile& file)
    : table_(file),
      user_defined_(table_.user_defined()),
      segmenter_(make_segmenter(file.type, table_, user_defined_)),
      normalizer_(file.normalizer, file.space_is_behind, user_defined_),
      adds_space_(file.normalizer.adds_space),
      removes_spaces_(file.normalizer.removes_spaces),
      end_(control_id(table_, file.end_piece)),
      unknown_text_(file.unknown_text) {
  if (file.denormalizer) denormalizer_.emplace(*file.denormalizer, false, PrefixMatcher());
}

void OwnSentencePiece::cut(std::string_view text, const Take& take) const {
  const std::string normalized = normalizer_(text);
  std::string_view unknown;  // characters that no piece covers, one behind another
  const auto take_unknown = [&] {
    if (!unknown.empty()) take(unknown, table_.unknown());
    unknown = {};
  };
  for (const Piece& piece : segmenter_->cut(normalized)) {
    if (piece.id != table_.unknown()) {
      take_unknown();
      take(piece.text, piece.id);
    } else if (!table_.has_bytes()) {
      const char* const begin = unknown.empty() ? piece.text.data() : unknown.data();
      unknown = {begin, unknown.size() + piece.text.size()};
    } else {
      for (const char byte : piece.text) {
        const std::string own = byte_piece(static_cast<unsigned char>(byte));
        take(own, table_.id(own));
      }
    }
  }
  take_unknown();
}

std::string OwnSentencePiece::join(std::span<const std::string_view> pieces) const {
  std::string text, bytes;
  bool is_first = true, lost_space = false;
  for (const std::string_view piece : pieces) {
    const int32_t id = table_.id(piece);
    if (id >= 0 && table_.type(id) == PieceType::byte) {
      bytes += static_cast<char>(byte_of_piece(piece).value_or(0));
      continue;
    }
    append_bytes(bytes, text);
    bytes.clear();
    is_first = is_first && !lost_space && text.empty();
    lost_space = append(piece, id, is_first, text);
  }
  append_bytes(bytes, text);
  if (denormalizer_) text = (*denormalizer_)(text);
  return text;
}

bool OwnSentencePiece::append(std::string_view piece, int32_t id, bool is_first,
                              std::string& text) const {
  if (id < 0 || table_.type(id) == PieceType::unknown) {
    text += id >= 0 && table_.text(id) == piece ? unknown_text_ : piece;
    return false;
  }
  if (table_.type(id) == PieceType::control) return false;
  const bool drops =
      is_first && (adds_space_ || removes_spaces_) && piece.starts_with(kMarkedSpace);
  if (drops) piece.remove_prefix(kMarkedSpace.size());
  append_replaced(text, piece, kMarkedSpace, " ");
  return drops && !removes_spaces_;
}

}  // namespace

std::unique_ptr<const SentencePiece> open_sentencepiece(std::string_view content,
                                                        std::string_view name) {
  try {
    return std::make_unique<const OwnSentencePiece>(read_sentencepiece(content));
  } catch (const std::runtime_error& error) {
    throw CheckpointError(std::string(name) + " is not a sentencepiece model: " + error.what());
  }
}

}  // namespace pytransformer::text
