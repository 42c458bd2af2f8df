// Byte pair encoding as sentencepiece applies it: of all neighbours that make a piece those are
// merged whose piece has the highest score, the leftmost of several, one pair after another.
#include <queue>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "text/segmenter.h"
#include "text/unicode.h"

namespace pytransformer::text {
namespace {

constexpr size_t kNone = static_cast<size_t>(-1);
// Pieces that are not to be used are taken apart again so many times at most.
constexpr int kDeepest = 100;

// A part of the text, one of a chain.
struct Symbol {
  std::string_view text;  // empty once it is part of the one before
  size_t before, after;
  bool is_fixed;  // never merged
};

// Two neighbours that make a piece, as long as both are what they were.
struct Pair {
  float score;
  size_t left, length;

  bool operator<(const Pair& other) const {
    return score != other.score ? score < other.score : left > other.left;
  }
};

// One text while it is cut.
class Merger {
 public:
  Merger(std::string_view text, const PieceTable& table, const PrefixMatcher& user_defined)
      : table_(table) {
    symbols_.reserve(text.size());
    while (!text.empty()) {
      const PrefixMatcher::Entry* const own = user_defined.longest(text);
      const size_t length = own == nullptr ? character_length(text, 0) : own->text.size();
      const size_t place = symbols_.size();
      symbols_.push_back({text.substr(0, length), place - 1, place + 1, own != nullptr});
      text.remove_prefix(length);
    }
    if (!symbols_.empty()) symbols_.back().after = kNone;
  }

  std::vector<Piece> merged() {
    for (size_t left = 0; left < symbols_.size(); ++left) offer(left);
    while (!pairs_.empty()) {
      const Pair pair = pairs_.top();
      pairs_.pop();
      if (!stands(pair)) continue;
      merge(pair.left);
      offer(symbols_[pair.left].before);
      offer(pair.left);
    }
    std::vector<Piece> pieces;
    for (size_t i = 0; i < symbols_.size(); i = symbols_[i].after) {
      take_apart(symbols_[i].text, 0, pieces);
    }
    return pieces;
  }

 private:
  std::string_view text_of_pair(size_t left) const {
    const std::string_view text = symbols_[left].text;
    return {text.data(), text.size() + symbols_[symbols_[left].after].text.size()};
  }

  void offer(size_t left) {
    if (left == kNone || symbols_[left].after == kNone) return;
    const Symbol& one = symbols_[left];
    const Symbol& other = symbols_[one.after];
    if (one.is_fixed || other.is_fixed) return;
    const std::string_view text = text_of_pair(left);
    const std::optional<int32_t> id = table_.vocabulary().find(text);
    if (!id) return;
    pairs_.push({table_.score(*id), left, text.size()});
    if (table_.type(*id) == PieceType::unused) parts_[text] = one.text.size();
  }

  bool stands(const Pair& pair) const {
    const Symbol& left = symbols_[pair.left];
    return !left.text.empty() && left.after != kNone &&
           text_of_pair(pair.left).size() == pair.length;
  }

  void merge(size_t left) {
    Symbol& one = symbols_[left];
    Symbol& other = symbols_[one.after];
    one.text = text_of_pair(left);
    one.after = other.after;
    if (other.after != kNone) symbols_[other.after].before = left;
    other.text = {};
  }

  void take_apart(std::string_view text, int depth, std::vector<Piece>& pieces) const {
    const std::optional<int32_t> id = table_.vocabulary().find(text);
    const bool is_unused = id && table_.type(*id) == PieceType::unused;
    const auto parts = is_unused ? parts_.find(text) : parts_.end();
    if (depth > kDeepest || (id && !is_unused)) {
      pieces.push_back({text, id.value_or(table_.unknown())});
    } else if (parts == parts_.end()) {
      pieces.push_back({text, table_.unknown()});
    } else {
      take_apart(text.substr(0, parts->second), depth + 1, pieces);
      take_apart(text.substr(parts->second), depth + 1, pieces);
    }
  }

  const PieceTable& table_;
  std::vector<Symbol> symbols_;
  std::priority_queue<Pair> pairs_;
  // How long the first part was of pieces that are not to be used.
  std::unordered_map<std::string_view, size_t> parts_;
};

class PairSegmenter : public Segmenter {
 public:
  PairSegmenter(const PieceTable& table, const PrefixMatcher& user_defined)
      : table_(table), user_defined_(user_defined) {}

  std::vector<Piece> cut(std::string_view text) const override {
    return Merger(text, table_, user_defined_).merged();
  }

 private:
  const PieceTable& table_;
  const PrefixMatcher& user_defined_;
};

}  // namespace

std::unique_ptr<const Segmenter> make_pair_segmenter(const PieceTable& table,
                                                     const PrefixMatcher& user_defined) {
  return std::make_unique<const PairSegmenter>(table, user_defined);
}

}  // namespace pytransformer::text
