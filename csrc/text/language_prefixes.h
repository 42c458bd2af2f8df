// Languages that a model is told by a text in front of the source.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "io/json.h"
#include "text/languages.h"
#include "text/tokenizer.h"

namespace pytransformer::text {

// What stands in front of a text from one language (none: any) that is to become another.
struct LanguagePrefix {
  std::optional<std::string> source;
  std::string target;
  std::string text;
};

class LanguagePrefixes {
 public:
  // The setting `language_prefixes`, which may be empty. Throws io::JsonError.
  explicit LanguagePrefixes(const io::Json& settings);

  const LanguageSet& sources() const { return sources_; }
  const LanguageSet& targets() const { return targets_; }
  // The text with the languages' prefix, unless it already begins with one. Throws OptionError for
  // languages that the model does not know.
  std::string put(std::string_view text, const Languages& languages) const;

 private:
  const LanguagePrefix& find(std::string_view source, std::string_view target) const;

  std::vector<LanguagePrefix> prefixes_;
  LanguageSet sources_, targets_;
};

}  // namespace pytransformer::text
