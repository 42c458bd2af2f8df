#include "text/piece_table.h"

#include <stdexcept>
#include <utility>

namespace pytransformer::text {
namespace {

constexpr std::string_view kDigits = "0123456789ABCDEF";

bool is_reserved(PieceType type) {
  return type == PieceType::control || type == PieceType::unknown || type == PieceType::byte;
}

}  // namespace

std::string byte_piece(unsigned char byte) {
  return {'<', '0', 'x', kDigits[byte >> 4], kDigits[byte & 15], '>'};
}

std::optional<unsigned char> byte_of_piece(std::string_view piece) {
  if (piece.size() != 6) return std::nullopt;
  const size_t high = kDigits.find(piece[3]), low = kDigits.find(piece[4]);
  if (high > 15 || low > 15) return std::nullopt;
  const auto byte = static_cast<unsigned char>(high << 4 | low);
  if (byte_piece(byte) != piece) return std::nullopt;
  return byte;
}

PieceTable::PieceTable(const SentencePieceFile& file)
    : has_bytes_(file.has_bytes), vocabulary_(TokenList()) {
  TokenList tokens;
  for (const PieceSpec& piece : file.pieces) add(piece, tokens);
  if (has_bytes_) check_bytes();
  if (unknown_ < 0 && !has_bytes_) throw std::runtime_error("there is no unknown piece");
  vocabulary_ = Vocabulary(std::move(tokens));
  if (!vocabulary_.repeated().empty()) throw std::runtime_error("a piece comes twice");
}

void PieceTable::add(const PieceSpec& piece, TokenList& tokens) {
  const int32_t id = size();
  scores_.push_back(piece.score);
  types_.push_back(piece.type);
  if (!is_reserved(piece.type)) {
    tokens.add(piece.text);
    return;
  }
  tokens.add_hole();
  const auto [place, is_new] = reserved_.emplace(piece.text, id);
  if (!is_new) throw std::runtime_error("a piece comes twice");
  reserved_texts_[id] = place->first;
  if (piece.type == PieceType::unknown && std::exchange(unknown_, id) >= 0) {
    throw std::runtime_error("there are two unknown pieces");
  }
  if (piece.type == PieceType::byte && (!has_bytes_ || !byte_of_piece(piece.text))) {
    throw std::runtime_error("a piece is a byte where none should be");
  }
}

void PieceTable::check_bytes() const {
  for (unsigned byte = 0; byte < 256; ++byte) {
    const auto found = reserved_.find(byte_piece(static_cast<unsigned char>(byte)));
    if (found == reserved_.end() || type(found->second) != PieceType::byte) {
      throw std::runtime_error("there is not a piece for every byte");
    }
  }
}

std::string_view PieceTable::text(int32_t id) const {
  if (const auto found = vocabulary_.token(id)) return *found;
  return reserved_texts_.at(id);
}

int32_t PieceTable::id(std::string_view piece) const {
  if (const auto found = reserved_.find(piece); found != reserved_.end()) return found->second;
  return vocabulary_.find(piece).value_or(unknown_);
}

std::vector<std::string> PieceTable::user_defined() const {
  std::vector<std::string> texts;
  for (int32_t id = 0; id < size(); ++id) {
    if (type(id) == PieceType::user_defined) texts.emplace_back(text(id));
  }
  return texts;
}

}  // namespace pytransformer::text
