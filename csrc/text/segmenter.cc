#include "text/segmenter.h"

#include <algorithm>
#include <limits>
#include <optional>

#include "text/best_path.h"
#include "text/normalizer.h"
#include "text/unicode.h"

namespace pytransformer::text {
namespace {

// A unigram language model.
class UnigramSegmenter : public Segmenter {
 public:
  explicit UnigramSegmenter(const PieceTable& table)
      : table_(table), prefixes_(static_cast<size_t>(table.size())) {
    float least = std::numeric_limits<float>::max();
    for (int32_t id = 0; id < table.size(); ++id) {
      if (const auto piece = table.vocabulary().token(id)) prefixes_.add(*piece);
      if (table.type(id) == PieceType::normal) least = std::min(least, table.score(id));
    }
    unknown_score_ = least - static_cast<float>(kUnknownPenalty);
  }

  std::vector<Piece> cut(std::string_view text) const override {
    const auto score_of = [&](int32_t id, size_t length) -> std::optional<float> {
      if (table_.type(id) == PieceType::unused) return std::nullopt;
      if (table_.type(id) == PieceType::normal) return table_.score(id);
      // More than any other, so that the user's own pieces are always taken.
      return static_cast<float>(0.1 * static_cast<double>(length - 1));
    };
    std::vector<Piece> pieces;
    for (const auto& [start, end, id] :
         best_path(text, table_.vocabulary(), prefixes_, unknown_score_, score_of)) {
      pieces.push_back(
          {text.substr(start, end - start), id == PathPiece::kUnknown ? table_.unknown() : id});
    }
    return pieces;
  }

 private:
  const PieceTable& table_;
  PrefixFilter prefixes_;
  float unknown_score_;
};

int32_t id_of(std::string_view text, const PieceTable& table) {
  const std::optional<int32_t> id = table.vocabulary().find(text);
  return id && table.type(*id) != PieceType::unused ? *id : table.unknown();
}

// Pieces are what begins with a space.
class WordSegmenter : public Segmenter {
 public:
  explicit WordSegmenter(const PieceTable& table) : table_(table) {}

  std::vector<Piece> cut(std::string_view text) const override {
    std::vector<Piece> pieces;
    while (!text.empty()) {
      const std::string_view word =
          text.substr(0, text.find(kMarkedSpace, character_length(text, 0)));
      pieces.push_back({word, id_of(word, table_)});
      text.remove_prefix(word.size());
    }
    return pieces;
  }

 private:
  const PieceTable& table_;
};

class CharacterSegmenter : public Segmenter {
 public:
  CharacterSegmenter(const PieceTable& table, const PrefixMatcher& user_defined)
      : table_(table), user_defined_(user_defined) {}

  std::vector<Piece> cut(std::string_view text) const override {
    std::vector<Piece> pieces;
    while (!text.empty()) {
      const PrefixMatcher::Entry* const own = user_defined_.longest(text);
      const size_t length = own == nullptr ? character_length(text, 0) : own->text.size();
      pieces.push_back({text.substr(0, length), id_of(text.substr(0, length), table_)});
      text.remove_prefix(length);
    }
    return pieces;
  }

 private:
  const PieceTable& table_;
  const PrefixMatcher& user_defined_;
};

}  // namespace

std::unique_ptr<const Segmenter> make_segmenter(SegmenterType type, const PieceTable& table,
                                                const PrefixMatcher& user_defined) {
  if (type == SegmenterType::pairs) return make_pair_segmenter(table, user_defined);
  if (type == SegmenterType::words) return std::make_unique<const WordSegmenter>(table);
  if (type == SegmenterType::characters) {
    return std::make_unique<const CharacterSegmenter>(table, user_defined);
  }
  return std::make_unique<const UnigramSegmenter>(table);
}

}  // namespace pytransformer::text
