// Byte pair encoding of words (Sennrich et al. 2016), as subword-nmt and fastBPE apply it.
#include <algorithm>
#include <queue>
#include <utility>
#include <vector>

#include "io/utf8.h"
#include "text/clean_up.h"
#include "text/cutters.h"
#include "text/errors.h"
#include "text/unicode.h"
#include "text/vocabulary.h"

namespace pytransformer::text {
namespace {

constexpr std::string_view kContinues = "@@ ";  // ends a token that goes on in the next one
constexpr std::string_view kEndOfWord = "</w>";

// The parts of a text between marks, empty ones included.
std::vector<std::string_view> split(std::string_view text, char mark) {
  std::vector<std::string_view> parts;
  for (size_t end; (end = text.find(mark)) != std::string_view::npos; text.remove_prefix(end + 1)) {
    parts.push_back(text.substr(0, end));
  }
  parts.push_back(text);
  return parts;
}

std::string_view stripped(std::string_view line) {
  const size_t begin = line.find_first_not_of("\r ");
  if (begin == std::string_view::npos) return {};
  return line.substr(begin, line.find_last_not_of("\r ") + 1 - begin);
}

// The file of codes holds the pairs to merge, one a line, best first. The first line may name the
// version; in files of version 0.1, which do not, the mark of a word's end is a symbol of its own.
// fastBPE's have the count of each pair behind it.
struct Codes {
  TokenList pairs;  // "left right"
  bool end_is_separate = false;

  explicit Codes(std::string_view content) {
    if (const size_t place = io::find_invalid_utf8(content); place != std::string_view::npos) {
      throw CheckpointError("BPE codes: byte " + std::to_string(place) + " is not UTF-8 text");
    }
    std::vector<std::string_view> lines = split(content, '\n');
    const bool has_version = lines.front().starts_with("#version:");
    bool is_first_version = true;
    if (has_version) {
      std::vector<std::string_view> words;
      cut_words(lines.front(), [&](std::string_view word) { words.push_back(word); });
      is_first_version = words.size() == 2 && words[1] == "0.1";
      lines.erase(lines.begin());
    }
    const bool is_counted = read_pairs(lines, has_version ? 2 : 1);
    end_is_separate = is_first_version && !is_counted;
  }

 private:
  // Returns whether the pairs have counts; `number` is that of the first line.
  bool read_pairs(std::span<const std::string_view> lines, size_t number) {
    bool is_counted = false;
    for (const std::string_view line : lines) {
      if (stripped(line).empty()) continue;
      const std::vector<std::string_view> parts = split(stripped(line), ' ');
      if (pairs.size() == 0) is_counted = parts.size() == 3;
      if (parts.size() != (is_counted ? 3 : 2) || std::ranges::find(parts, "") != parts.end()) {
        throw CheckpointError("BPE codes: line " + std::to_string(number) +
                              " is no pair of symbols");
      }
      pairs.add(std::string(parts[0]).append(" ").append(parts[1]));
      ++number;
    }
    return is_counted;
  }
};

// A word that is being put together: a chain of symbols, each a part of its text.
class Word {
 public:
  Word(std::string_view text, const Vocabulary& ranks) : ranks_(ranks), text_(text) {}

  void add(size_t length) {
    const size_t begin = symbols_.empty() ? 0 : symbols_.back().begin + symbols_.back().length;
    symbols_.push_back({begin, length, symbols_.size() - 1, symbols_.size() + 1});
  }

  // Merges the best pair of neighbours everywhere, from left to right, then the next.
  void merge() {
    for (size_t left = 0; left < symbols_.size(); ++left) push(left);
    while (!pairs_.empty()) {
      const int32_t rank = pairs_.top().rank;
      std::vector<size_t> merged;
      for (; !pairs_.empty() && pairs_.top().rank == rank; pairs_.pop()) {
        if (!stands(pairs_.top())) continue;
        join(pairs_.top().left);
        merged.push_back(pairs_.top().left);
      }
      for (const size_t left : merged) {
        if (left > 0) push(symbols_[left].before);
        push(left);
      }
    }
  }

  std::vector<std::string_view> parts() const {
    std::vector<std::string_view> result;
    for (size_t i = 0; i < symbols_.size(); i = symbols_[i].after) result.push_back(text(i));
    return result;
  }

 private:
  struct Symbol {
    size_t begin, length;  // bytes; no length once it is part of the one before
    size_t before, after;
  };
  // Two neighbours that may become one, as long as both are what they were.
  struct Pair {
    int32_t rank;
    size_t left, left_length, right_length;

    bool operator>(const Pair& other) const {
      return std::pair(rank, left) > std::pair(other.rank, other.left);
    }
  };

  std::string_view text(size_t symbol) const {
    return text_.substr(symbols_[symbol].begin, symbols_[symbol].length);
  }

  void push(size_t left) {
    const size_t right = symbols_[left].after;
    if (right >= symbols_.size() || symbols_[left].length == 0) return;
    const auto rank = ranks_.find(std::string(text(left)).append(" ").append(text(right)));
    if (rank) pairs_.push({*rank, left, symbols_[left].length, symbols_[right].length});
  }

  bool stands(const Pair& pair) const {
    const Symbol& left = symbols_[pair.left];
    return left.length == pair.left_length && left.after < symbols_.size() &&
           symbols_[left.after].length == pair.right_length;
  }

  void join(size_t left) {
    const size_t right = symbols_[left].after;
    symbols_[left].length += symbols_[right].length;
    symbols_[left].after = symbols_[right].after;
    if (symbols_[right].after < symbols_.size()) symbols_[symbols_[right].after].before = left;
    symbols_[right].length = 0;
  }

  const Vocabulary& ranks_;
  std::string_view text_;
  std::vector<Symbol> symbols_;
  std::priority_queue<Pair, std::vector<Pair>, std::greater<>> pairs_;
};

class MergedPairs : public Cutter {
 public:
  explicit MergedPairs(Codes codes)
      : ranks_(std::move(codes.pairs), Twice::first), end_is_separate_(codes.end_is_separate) {}

  void cut(std::string_view text, const Take& take) const override {
    // subword-nmt cuts at spaces only, and what reads its output at all white space.
    std::string tokens;
    for (const std::string_view word : split(text, ' ')) {
      if (!word.empty()) append_tokens(word, tokens);
    }
    cut_words(tokens, take);
  }

  std::string join(std::span<const std::string_view> tokens) const override {
    std::string text;
    for (const std::string_view token : tokens) text.append(token).append(" ");
    return std::string(without_trailing_space(replaced(text, kContinues, "")));
  }

 private:
  void append_tokens(std::string_view word, std::string& tokens) const {
    const std::string whole = std::string(word).append(kEndOfWord);
    Word symbols(whole, ranks_);
    for (size_t place = 0; place < word.size();) {
      const size_t length = character_length(word, place);
      place += length;
      const bool ends = place == word.size() && !end_is_separate_;
      symbols.add(ends ? length + kEndOfWord.size() : length);
    }
    if (end_is_separate_) symbols.add(kEndOfWord.size());
    symbols.merge();

    std::vector<std::string_view> parts = symbols.parts();
    if (parts.back() == kEndOfWord) parts.pop_back();
    if (parts.back().ends_with(kEndOfWord)) parts.back().remove_suffix(kEndOfWord.size());
    for (const std::string_view part : std::span(parts).first(parts.size() - 1)) {
      tokens.append(part).append(kContinues);
    }
    tokens.append(parts.back()).append(" ");
  }

  Vocabulary ranks_;
  bool end_is_separate_;
};

}  // namespace

std::unique_ptr<const Cutter> merged_pairs_cutter(std::string_view codes) {
  return std::make_unique<const MergedPairs>(Codes(codes));
}

}  // namespace pytransformer::text
