// What a call gives, in the shape in which the C interface hands it out.
#pragma once

#include <cstddef>
#include <string>
#include <vector>

#include "decode/results.h"
#include "pytransformer.h"

namespace pytransformer::embed {

struct Hypothesis {
  decode::Hypothesis found;  // empty for a text of several lines
  bool has_text = false;
  std::string text;
  std::vector<std::string> tokens;
  std::vector<pytransformer_text> token_views;  // of `tokens`
};

using Result = std::vector<std::vector<Hypothesis>>;  // by text or sentence

// Fills as much of `to` as its size says. Throws Fault for an index beyond the end.
void get(const Result& result, size_t sentence, size_t hypothesis, pytransformer_hypothesis& to);

}  // namespace pytransformer::embed
