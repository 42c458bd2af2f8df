// Reads sentencepiece's models, which are messages of Protocol Buffers (sentencepiece_model.proto).
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace pytransformer::text {

// The numbers are those of the file.
enum class PieceType : uint8_t { normal = 1, unknown, control, user_defined, unused, byte };
enum class SegmenterType : uint8_t { unigram = 1, pairs, words, characters };

struct PieceSpec {
  std::string_view text;
  float score = 0;
  PieceType type = PieceType::normal;
};

// What is done to a text before it is cut.
struct NormalizerSpec {
  std::string_view character_map;  // empty: none
  bool adds_space = true;          // in front of the text, or behind it
  bool removes_spaces = true;      // around the text, and all but one between words
  bool marks_spaces = true;        // writes them as "▁"
};

// All views are parts of the file's content.
struct SentencePieceFile {
  std::vector<PieceSpec> pieces;  // in the order of their ids
  SegmenterType type = SegmenterType::unigram;
  bool has_bytes = false;  // what no piece covers is cut into pieces that stand for single bytes
  bool space_is_behind = false;  // of a word, instead of in front
  std::string_view end_piece = "</s>";
  std::string_view unknown_text = " \u2047 ";  // what the unknown piece becomes
  NormalizerSpec normalizer;
  std::optional<NormalizerSpec> denormalizer;  // what is done to a text that was joined
};

// Throws std::runtime_error if `content` is no such message, is cut short, or holds pieces that are
// empty, too long or not UTF-8, or scores that are no numbers.
SentencePieceFile read_sentencepiece(std::string_view content);

// Such a content without the texts that a model is tested with when it is opened.
std::string without_tests(std::string_view content);

}  // namespace pytransformer::text
