// The pieces of a sentencepiece model.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "text/sentencepiece_file.h"
#include "text/vocabulary.h"

namespace pytransformer::text {

class PieceTable {
 public:
  // Throws std::runtime_error if they contradict one another.
  explicit PieceTable(const SentencePieceFile& file);
  PieceTable(const PieceTable&) = delete;
  PieceTable& operator=(const PieceTable&) = delete;

  int32_t size() const { return static_cast<int32_t>(types_.size()); }
  int32_t unknown() const { return unknown_; }  // -1 if there is none
  bool has_bytes() const { return has_bytes_; }
  // Of ids that there are.
  std::string_view text(int32_t id) const;
  float score(int32_t id) const { return scores_[static_cast<size_t>(id)]; }
  PieceType type(int32_t id) const { return types_[static_cast<size_t>(id)]; }

  // The pieces that texts are cut into: normal, user-defined and unused ones.
  const Vocabulary& vocabulary() const { return vocabulary_; }
  // The id of any piece, the unknown one's for what is none.
  int32_t id(std::string_view piece) const;
  std::vector<std::string> user_defined() const;

 private:
  void add(const PieceSpec& piece, TokenList& tokens);
  void check_bytes() const;

  std::vector<float> scores_;
  std::vector<PieceType> types_;
  bool has_bytes_;
  int32_t unknown_ = -1;
  // Control pieces, the unknown one and bytes, with their ids.
  std::map<std::string, int32_t, std::less<>> reserved_;
  std::map<int32_t, std::string_view> reserved_texts_;  // parts of the above
  Vocabulary vocabulary_;
};

// The piece that stands for a byte, such as <0x0A>, and the byte that a piece stands for.
std::string byte_piece(unsigned char byte);
std::optional<unsigned char> byte_of_piece(std::string_view piece);

}  // namespace pytransformer::text
