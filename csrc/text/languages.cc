#include "text/languages.h"

#include <algorithm>
#include <map>
#include <mutex>
#include <utility>

#include "text/errors.h"
#include "text/unicode.h"

namespace pytransformer::text {
namespace {

constexpr size_t kShown = 12;  // languages in a message

// Characters beyond ASCII that become letters of the table's where case does not count.
constexpr std::pair<std::string_view, std::string_view> kFolded[] = {
    {"Å", "å"},        {"\u212B", "å"},   {"È", "è"},       {"ß", "ss"},      {"\u1E9E", "ss"},
    {"\u017F", "s"},   {"\u212A", "k"},   {"\uFB00", "ff"}, {"\uFB01", "fi"}, {"\uFB02", "fl"},
    {"\uFB03", "ffi"}, {"\uFB04", "ffl"}, {"\uFB05", "st"}, {"\uFB06", "st"},
};

std::string_view without(std::string_view text, std::string_view characters) {
  const size_t begin = text.find_first_not_of(characters);
  if (begin == std::string_view::npos) return {};
  return text.substr(begin, text.find_last_not_of(characters) + 1 - begin);
}

// The spelling in which languages are looked up.
std::string key(std::string_view language) {
  std::string result;
  for (std::string_view rest = without(language, "_ "); !rest.empty();) {
    const auto* const folded = std::ranges::find_if(
        kFolded, [&](const auto& pair) { return rest.starts_with(pair.first); });
    if (folded != std::end(kFolded)) {
      result += folded->second;
      rest.remove_prefix(folded->first.size());
      continue;
    }
    const char c = rest.front();
    result += c == '-' ? '_' : c >= 'A' && c <= 'Z' ? static_cast<char>(c + 'a' - 'A') : c;
    rest.remove_prefix(1);
  }
  return result;
}

std::string_view before(std::string_view text, char mark) {
  return text.substr(0, text.find(mark));
}

// The parts of a text between marks, empty ones included; none of an empty text.
std::vector<std::string_view> parts(std::string_view text, char mark) {
  std::vector<std::string_view> result;
  while (!text.empty()) {
    result.push_back(before(text, mark));
    text.remove_prefix(std::min(text.size(), result.back().size() + 1));
  }
  return result;
}

// A row of the table: a language in a script, with the codes and names that mean it.
struct Row {
  std::string_view code;                      // ISO 639-3 and ISO 15924, as in NLLB-200: deu_Latn
  std::vector<std::string_view> short_codes;  // those that say nothing of the script
  std::vector<std::string_view> names;

  explicit Row(std::string_view line) {
    const std::vector<std::string_view> columns = parts(line, '\t');
    code = columns.at(0);
    short_codes = parts(columns.at(1), ' ');
    short_codes.insert(short_codes.begin(), before(code, '_'));
    names = parts(columns.at(2), '|');
  }

  // All that means this language, in the spelling that is looked up.
  std::vector<std::string> meanings() const {
    const std::string_view script = code.substr(code.find('_') + 1);
    std::vector<std::string> result;
    for (const std::string_view one : short_codes) {
      result.push_back(key(one));
      result.push_back(key(std::string(one) + "_" + std::string(script)));
    }
    for (const std::string_view name : names) result.push_back(key(name));
    return result;
  }
};

using Rows = std::map<std::string, std::vector<const Row*>, std::less<>>;

// The languages that a model's code means; several if it leaves the script open.
std::span<const Row* const> rows_of(const Rows& rows, std::string_view code) {
  const std::string whole = key(code);
  auto found = rows.find(whole);
  if (found == rows.end()) found = rows.find(before(whole, '_'));
  if (found == rows.end()) return {};
  return found->second;
}

}  // namespace

// What codes may be meant by a text that is none of them, made when it is first asked.
class LanguageSet::Meanings {
 public:
  std::span<const std::string* const> of(std::span<const std::string> codes,
                                         std::string_view language) {
    std::call_once(made_, [&] { make(codes); });
    const auto found = by_key_.find(key(language));
    if (found == by_key_.end()) return {};
    return found->second;
  }

 private:
  void make(std::span<const std::string> codes) {
    std::vector<Row> table;
    for (const std::string_view line : parts(kLanguageTable, '\n')) table.emplace_back(line);
    Rows rows;
    for (const Row& row : table) {
      rows[key(row.code)].push_back(&row);
      for (const std::string_view code : row.short_codes) rows[key(code)].push_back(&row);
    }
    for (const std::string& code : codes) {
      for (const Row* const row : rows_of(rows, code)) {
        for (const std::string& meaning : row->meanings()) add(meaning, code);
      }
      add(key(before(code, '_')), code);
    }
    // A code that is written out is never another one's.
    for (const std::string& code : codes) by_key_[key(code)] = {&code};
  }

  void add(const std::string& meaning, const std::string& code) {
    std::vector<const std::string*>& found = by_key_[meaning];
    if (std::ranges::none_of(found, [&](const auto* known) { return *known == code; })) {
      found.push_back(&code);
    }
  }

  std::once_flag made_;
  std::map<std::string, std::vector<const std::string*>, std::less<>> by_key_;
};

LanguageSet::LanguageSet(std::vector<std::string> codes)
    : codes_(std::move(codes)), meanings_(std::make_unique<Meanings>()) {}
LanguageSet::LanguageSet(LanguageSet&&) noexcept = default;
LanguageSet::~LanguageSet() = default;

bool LanguageSet::has(std::string_view code) const {
  return std::ranges::find(codes_, code) != codes_.end();
}

const std::string& LanguageSet::resolve(std::string_view option, std::string_view language) const {
  const auto exact = std::ranges::find(codes_, language);
  if (exact != codes_.end()) return *exact;
  const auto found = meanings_->of(codes_, language);
  if (found.size() == 1) return *found.front();
  std::string message = std::string(option) + " is " + quoted(language) + ", which ";
  if (!found.empty()) {
    message += "may be " + *found.front();
    for (const std::string* const code : found.subspan(1)) message += " or " + *code;
    throw OptionError(message);
  }
  if (codes_.empty()) {
    throw OptionError(std::string(option) + " is " + quoted(language) +
                      ", but this model has no languages to choose from");
  }
  throw OptionError(message + "this model does not know; it knows " + some());
}

std::string LanguageSet::some() const {
  std::string result;
  for (const std::string& code : std::span(codes_).first(std::min(codes_.size(), kShown))) {
    result += (result.empty() ? "" : ", ") + code;
  }
  if (codes_.size() <= kShown) return result;
  return result + " and " + std::to_string(codes_.size() - kShown) + " more";
}

}  // namespace pytransformer::text
