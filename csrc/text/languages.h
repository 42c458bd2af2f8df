// Languages of a model by its own codes, by ISO codes and by English names.
#pragma once

#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace pytransformer::text {

// pytransformer/tokenizers/languages.tsv: code, other codes and names of a language in a line.
extern const std::string_view kLanguageTable;

// The languages of one side of a model, by the model's codes. Safe to use from several threads.
class LanguageSet {
 public:
  explicit LanguageSet(std::vector<std::string> codes);
  LanguageSet(LanguageSet&&) noexcept;
  ~LanguageSet();

  std::span<const std::string> codes() const { return codes_; }
  bool has(std::string_view code) const;
  // The model's code for a language; upper and lower case are the same. Throws OptionError, which
  // names the `option`, if the model knows no such language, or several.
  const std::string& resolve(std::string_view option, std::string_view language) const;
  // A few of the codes, for a message.
  std::string some() const;

 private:
  class Meanings;
  std::vector<std::string> codes_;
  std::unique_ptr<Meanings> meanings_;
};

}  // namespace pytransformer::text
