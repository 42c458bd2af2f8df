// What is done to the text of a translation when its pieces have been joined.
#pragma once

#include <string>
#include <string_view>

namespace pytransformer::text {

// Appends a text with every `from`, which is not empty, replaced by `to`.
void append_replaced(std::string& result, std::string_view text, std::string_view from,
                     std::string_view to);
// The same as a string of its own.
std::string replaced(std::string_view text, std::string_view from, std::string_view to);

// Without the spaces that English does not have before punctuation: the text as transformers gives
// it where `clean_up_tokenization_spaces` is true.
std::string cleaned_up(std::string text);

}  // namespace pytransformer::text
