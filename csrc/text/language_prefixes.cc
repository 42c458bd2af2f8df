#include "text/language_prefixes.h"

#include <algorithm>

#include "text/errors.h"
#include "text/unicode.h"

namespace pytransformer::text {
namespace {

std::vector<LanguagePrefix> read(const io::Json& settings) {
  constexpr std::string_view kName = "language_prefixes";
  std::vector<LanguagePrefix> prefixes;
  for (const io::Json& prefix : settings.at(kName).as_array(kName)) {
    const io::Json::Array& parts = prefix.as_array(kName);
    if (parts.size() != 3) throw io::JsonError("language_prefixes holds what is no triple");
    std::optional<std::string> source;
    if (!parts[0].is_null()) source = parts[0].as_string(kName);
    prefixes.push_back({source, parts[1].as_string(kName), parts[2].as_string(kName)});
  }
  return prefixes;
}

void add_once(std::vector<std::string>& codes, const std::string& code) {
  if (std::ranges::find(codes, code) == codes.end()) codes.push_back(code);
}

std::vector<std::string> sources_of(const std::vector<LanguagePrefix>& prefixes) {
  std::vector<std::string> codes;
  for (const LanguagePrefix& prefix : prefixes) {
    if (prefix.source) add_once(codes, *prefix.source);
  }
  return codes;
}

std::vector<std::string> targets_of(const std::vector<LanguagePrefix>& prefixes) {
  std::vector<std::string> codes;
  for (const LanguagePrefix& prefix : prefixes) add_once(codes, prefix.target);
  return codes;
}

}  // namespace

LanguagePrefixes::LanguagePrefixes(const io::Json& settings)
    : prefixes_(read(settings)), sources_(sources_of(prefixes_)), targets_(targets_of(prefixes_)) {}

std::string LanguagePrefixes::put(std::string_view text, const Languages& languages) const {
  if (languages.source.empty() && languages.target.empty()) return std::string(text);
  if (prefixes_.empty()) {
    throw OptionError(
        "this model has no languages to choose from by src_lang and tgt_lang; what it is to do "
        "stands in its text, as in 'translate English to German: ...'");
  }
  std::string_view source = languages.source;
  if (!source.empty() && !sources_.codes().empty()) source = sources_.resolve("src_lang", source);
  if (languages.target.empty()) return std::string(text);
  const LanguagePrefix& prefix = find(source, targets_.resolve("tgt_lang", languages.target));
  const bool begins = std::ranges::any_of(prefixes_, [&](const LanguagePrefix& one) {
    return text.starts_with(without_trailing_space(one.text));
  });
  return begins ? std::string(text) : prefix.text + std::string(text);
}

const LanguagePrefix& LanguagePrefixes::find(std::string_view source,
                                             std::string_view target) const {
  std::vector<const LanguagePrefix*> found;
  for (const LanguagePrefix& prefix : prefixes_) {
    const bool fits = source.empty() || !prefix.source || *prefix.source == source;
    if (prefix.target == target && fits) found.push_back(&prefix);
  }
  if (found.size() == 1) return *found.front();
  if (found.empty()) {
    throw OptionError("this model does not translate " + quoted(source) + " into " +
                      quoted(target));
  }
  std::string sources;
  for (const LanguagePrefix* const prefix : found) {
    sources += (sources.empty() ? "" : ", ") + prefix->source.value_or("None");
  }
  throw OptionError("src_lang must say what is translated: one of " + sources);
}

}  // namespace pytransformer::text
