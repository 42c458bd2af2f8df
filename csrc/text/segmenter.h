// The ways in which sentencepiece cuts a text that has been normalised.
#pragma once

#include <cstdint>
#include <memory>
#include <string_view>
#include <vector>

#include "text/piece_table.h"
#include "text/prefix_matcher.h"

namespace pytransformer::text {

struct Piece {
  std::string_view text;
  int32_t id;  // the unknown piece's for what is no piece
};

// The methods may be called from several threads at once.
class Segmenter {
 public:
  virtual ~Segmenter() = default;
  virtual std::vector<Piece> cut(std::string_view text) const = 0;
};

// Both other arguments, of which `user_defined` are pieces that are never cut, must outlive it.
std::unique_ptr<const Segmenter> make_segmenter(SegmenterType type, const PieceTable& table,
                                                const PrefixMatcher& user_defined);
// The one of a model that merges pairs.
std::unique_ptr<const Segmenter> make_pair_segmenter(const PieceTable& table,
                                                     const PrefixMatcher& user_defined);

}  // namespace pytransformer::text
