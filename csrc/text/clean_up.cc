#include "text/clean_up.h"

#include <utility>

namespace pytransformer::text {
namespace {

// transformers' clean_up_tokenization, in its order.
constexpr std::pair<std::string_view, std::string_view> kRules[] = {
    {" .", "."},     {" ?", "?"},   {" !", "!"},   {" ,", ","},     {" ' ", "'"},
    {" n't", "n't"}, {" 'm", "'m"}, {" 's", "'s"}, {" 've", "'ve"}, {" 're", "'re"},
};

}  // namespace

void append_replaced(std::string& result, std::string_view text, std::string_view from,
                     std::string_view to) {
  size_t done = 0;
  for (size_t place; (place = text.find(from, done)) != std::string_view::npos;
       done = place + from.size()) {
    result.append(text, done, place - done).append(to);
  }
  result.append(text, done);
}

std::string replaced(std::string_view text, std::string_view from, std::string_view to) {
  std::string result;
  result.reserve(text.size());
  append_replaced(result, text, from, to);
  return result;
}

std::string cleaned_up(std::string text) {
  for (const auto& [ugly, clean] : kRules) {
    if (text.find(ugly) != std::string::npos) text = replaced(text, ugly, clean);
  }
  return text;
}

}  // namespace pytransformer::text
