#include "text/sentencepiece_file.h"

#include <cmath>
#include <cstring>
#include <stdexcept>

#include "io/utf8.h"

namespace pytransformer::text {
namespace {

constexpr size_t kLongestPiece = 8000;  // bytes; sentencepiece reads no longer ones

[[noreturn]] void cut_short() { throw std::runtime_error("the file is cut short or damaged"); }

// The fields of a message, one after another.
class Fields {
 public:
  explicit Fields(std::string_view message) : rest_(message) {}

  // The next one's number; 0 at the end.
  uint32_t next() {
    whole_ = rest_;
    if (rest_.empty()) return 0;
    const uint64_t tag = varint();
    if (tag > UINT32_MAX || tag < 8) cut_short();
    form_ = static_cast<Form>(tag & 7);
    switch (form_) {
      case Form::varint:
        value_ = varint();
        break;
      case Form::eight_bytes:
        bytes_ = take(8);
        break;
      case Form::bytes:
        bytes_ = take(varint());
        break;
      case Form::four_bytes:
        bytes_ = take(4);
        break;
      default:
        cut_short();
    }
    return static_cast<uint32_t>(tag >> 3);
  }

  // All bytes of the field.
  std::string_view whole() const { return whole_.substr(0, whole_.size() - rest_.size()); }

  // Each puts the field's value into its argument if the field has such a one.
  void read(std::string_view& bytes) const {
    if (form_ == Form::bytes) bytes = bytes_;
  }
  void read(uint64_t& value) const {
    if (form_ == Form::varint) value = value_;
  }
  void read(bool& value) const {
    if (form_ == Form::varint) value = value_ != 0;
  }
  void read(float& value) const {
    if (form_ == Form::four_bytes) std::memcpy(&value, bytes_.data(), sizeof value);
  }
  // The message that a field holds; an empty one if it holds none.
  Fields message() const { return Fields(form_ == Form::bytes ? bytes_ : std::string_view()); }

 private:
  enum class Form : uint8_t { varint = 0, eight_bytes = 1, bytes = 2, four_bytes = 5 };

  uint64_t varint() {
    uint64_t result = 0;
    for (int shift = 0; shift < 64; shift += 7) {
      const auto byte = static_cast<unsigned char>(take(1).front());
      result |= uint64_t{byte & 0x7Fu} << shift;
      if (byte < 0x80) return result;
    }
    cut_short();
  }

  std::string_view take(uint64_t length) {
    if (length > rest_.size()) cut_short();
    const std::string_view taken = rest_.substr(0, length);
    rest_.remove_prefix(length);
    return taken;
  }

  std::string_view rest_, whole_;  // behind the field, from its beginning on
  Form form_ = Form::varint;
  uint64_t value_ = 0;
  std::string_view bytes_;
};

void check_utf8(std::string_view text) {
  if (io::find_invalid_utf8(text) == std::string_view::npos) return;
  throw std::runtime_error("a piece is not UTF-8");
}

// A number of an enumeration that has `count` ones; others are as if they were not there.
template <class Enumeration>
void read_enumeration(const Fields& fields, uint64_t count, Enumeration& result) {
  uint64_t value = 0;
  fields.read(value);
  if (value >= 1 && value <= count) result = static_cast<Enumeration>(value);
}

PieceSpec read_piece(Fields fields) {
  PieceSpec piece;
  while (const uint32_t number = fields.next()) {
    if (number == 1) fields.read(piece.text);
    if (number == 2) fields.read(piece.score);
    if (number == 3) read_enumeration(fields, 6, piece.type);
  }
  if (piece.text.empty() || piece.text.size() >= kLongestPiece) {
    throw std::runtime_error("a piece is empty or too long");
  }
  check_utf8(piece.text);
  if (!std::isfinite(piece.score)) throw std::runtime_error("a score is not a number");
  return piece;
}

void read_trainer(Fields fields, SentencePieceFile& file) {
  while (const uint32_t number = fields.next()) {
    if (number == 3) read_enumeration(fields, 4, file.type);
    if (number == 24) fields.read(file.space_is_behind);
    if (number == 35) fields.read(file.has_bytes);
    if (number == 44) fields.read(file.unknown_text);
    if (number == 47) fields.read(file.end_piece);
  }
  check_utf8(file.unknown_text);
}

void read_normalizer(Fields fields, NormalizerSpec& normalizer) {
  while (const uint32_t number = fields.next()) {
    if (number == 2) fields.read(normalizer.character_map);
    if (number == 3) fields.read(normalizer.adds_space);
    if (number == 4) fields.read(normalizer.removes_spaces);
    if (number == 5) fields.read(normalizer.marks_spaces);
  }
}

}  // namespace

SentencePieceFile read_sentencepiece(std::string_view content) {
  SentencePieceFile file;
  NormalizerSpec denormalizer;
  Fields fields(content);
  while (const uint32_t number = fields.next()) {
    if (number == 1) file.pieces.push_back(read_piece(fields.message()));
    if (number == 2) read_trainer(fields.message(), file);
    if (number == 3) read_normalizer(fields.message(), file.normalizer);
    if (number == 5) read_normalizer(fields.message(), denormalizer);
  }
  if (!denormalizer.character_map.empty()) file.denormalizer = denormalizer;
  return file;
}

std::string without_tests(std::string_view content) {
  std::string kept;
  Fields fields(content);
  while (const uint32_t number = fields.next()) {
    if (number != 4) kept += fields.whole();
  }
  return kept;
}

}  // namespace pytransformer::text
