// Texts cut into the lines that are translated, and put together again.
#pragma once

#include <span>
#include <string_view>

#include "embed/translator.h"

namespace pytransformer::embed {

// Every "\n" of a text stays where it is; what calls back gets pieces of the texts in order.
Result translate_texts(Translator& translator, std::span<const std::string_view> texts,
                       const Decoding& decoding);

}  // namespace pytransformer::embed
