// The system's sentencepiece library. It trusts models: a damaged one makes it read anywhere, end
// the process or write to stderr. So what it trusts is checked before it sees a model.
#include <sentencepiece_processor.h>

#include <algorithm>
#include <climits>
#include <exception>
#include <new>
#include <stdexcept>
#include <vector>

#include "text/character_trie.h"
#include "text/errors.h"
#include "text/sentencepiece.h"
#include "text/sentencepiece_file.h"

namespace pytransformer::text {
namespace {

// How many results the library has room for when it looks up what a text begins with.
constexpr size_t kMostSequences = 32, kMostUserDefined = 64;

void check_user_defined(const std::vector<PieceSpec>& pieces) {
  std::vector<std::string_view> texts;
  for (const PieceSpec& piece : pieces) {
    if (piece.type == PieceType::user_defined) texts.push_back(piece.text);
  }
  std::ranges::sort(texts);
  std::vector<std::string_view> beginnings;  // of a text, those which are texts too
  for (const std::string_view text : texts) {
    while (!beginnings.empty() && !text.starts_with(beginnings.back())) beginnings.pop_back();
    beginnings.push_back(text);
    if (beginnings.size() > kMostUserDefined) {
      throw std::runtime_error("too many pieces of the user's begin with one another");
    }
  }
}

void check(const SentencePieceFile& file) {
  check_user_defined(file.pieces);
  for (const NormalizerSpec& spec :
       {file.normalizer, file.denormalizer.value_or(NormalizerSpec())}) {
    if (!spec.character_map.empty()) CharacterTrie(spec.character_map).check(kMostSequences);
  }
}

class LibrarySentencePiece : public SentencePiece {
 public:
  explicit LibrarySentencePiece(std::string_view content) {
    if (content.size() > INT_MAX) throw std::runtime_error("the file is too long");
    check(read_sentencepiece(content));
    // The library tells of tests that fail on stderr.
    require(processor_.LoadFromSerializedProto(without_tests(content)));
    size_ = processor_.GetPieceSize();
  }

  void cut(std::string_view text, const Take& take) const override {
    ::sentencepiece::ImmutableSentencePieceText found;
    require(processor_.Encode(text, found.mutable_proto()));
    for (int i = 0; i < static_cast<int>(found.pieces_size()); ++i) {
      const auto piece = found.pieces(i);
      take(piece.piece(), static_cast<int32_t>(piece.id()));
    }
  }

  std::string join(std::span<const std::string_view> pieces) const override {
    std::string text;
    require(processor_.Decode(std::vector<std::string>(pieces.begin(), pieces.end()), &text));
    return text;
  }

  int32_t size() const override { return size_; }
  std::string_view piece(int32_t id) const override { return processor_.IdToPiece(id); }
  // A copy, since the library reads an empty text up to a zero byte behind it.
  int32_t id(std::string_view piece) const override {
    return processor_.PieceToId(std::string(piece));
  }
  int32_t unknown_id() const override { return processor_.unk_id(); }
  int32_t end_id() const override { return processor_.eos_id(); }

 private:
  static void require(const ::sentencepiece::util::Status& status) {
    if (!status.ok()) throw CheckpointError("sentencepiece says: " + status.ToString());
  }

  ::sentencepiece::SentencePieceProcessor processor_;
  int32_t size_ = 0;
};

}  // namespace

std::unique_ptr<const SentencePiece> open_sentencepiece(std::string_view content,
                                                        std::string_view name) {
  try {
    return std::make_unique<const LibrarySentencePiece>(content);
  } catch (const std::bad_alloc&) {
    throw;
  } catch (const std::exception& error) {
    throw CheckpointError(std::string(name) + " is not a sentencepiece model: " + error.what());
  }
}

}  // namespace pytransformer::text
