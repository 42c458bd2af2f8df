// The tokenizer of ByT5 (Xue et al. 2022): the bytes of a text, and tokens added to them.
//
// Ids and texts equal those of transformers' ByT5Tokenizer: a byte's token is the character with
// its number, and bytes that are no UTF-8 are left out of a text.
#include <algorithm>
#include <array>
#include <map>
#include <utility>

#include "io/utf8.h"
#include "text/clean_up.h"
#include "text/kinds.h"
#include "text/settings.h"
#include "text/t5_family.h"
#include "text/unicode.h"

namespace pytransformer::text {
namespace {

constexpr int32_t kFirstByte = 3;  // the id of byte 0, behind <pad>, </s> and <unk>
constexpr int32_t kUnknown = 2;
constexpr unsigned kBytes = 256;

// The byte whose token this is, if it is one's.
std::optional<unsigned char> byte_of(std::string_view token) {
  if (token.empty() || io::find_invalid_utf8(token) != std::string_view::npos) return std::nullopt;
  const char32_t first = character_at(token, 0);
  if (character_length(token, 0) != token.size() || first >= kBytes) return std::nullopt;
  return static_cast<unsigned char>(first);
}

std::string without_invalid(std::string_view bytes) {
  std::string text;
  while (!bytes.empty()) {
    const std::string_view valid = bytes.substr(0, io::find_invalid_utf8(bytes));
    text += valid;
    bytes.remove_prefix(std::min(bytes.size(), valid.size() + 1));
  }
  return text;
}

class ByT5Tokenizer : public T5Family {
 public:
  explicit ByT5Tokenizer(const io::Json& settings)
      : T5Family(settings, kUnknown),
        cutter_(read_added_tokens(settings), Spaces::python),
        cleans_up_(flag(settings, "clean_up_tokenization_spaces")) {
    for (AddedToken& token : read_added_tokens(settings)) {
      ids_.insert_or_assign(token.content, token.id);
      tokens_.insert_or_assign(token.id, std::move(token.content));
    }
    for (unsigned byte = 0; byte < kBytes; ++byte) {
      byte_ids_[byte] = id_of(latin1_character(static_cast<unsigned char>(byte)));
    }
    read_end(settings);
  }

  std::vector<int32_t> encode_ids(std::string_view text, const Languages& given) const override {
    std::vector<int32_t> ids = cut_source(text, given);
    if (ids.empty() || ids.back() != end_id()) ids.push_back(end_id());
    return ids;
  }

 private:
  std::vector<int32_t> cut(std::string_view text) const override {
    std::vector<int32_t> ids;
    cutter_.cut(text, [&](std::string_view part, const AddedToken* token) {
      if (token != nullptr) {
        ids.push_back(id_of(part));
        return;
      }
      for (const char byte : part) ids.push_back(byte_ids_[static_cast<unsigned char>(byte)]);
    });
    return ids;
  }

  int32_t id_of(std::string_view token) const override {
    if (const auto found = ids_.find(token); found != ids_.end()) return found->second;
    const std::optional<unsigned char> byte = byte_of(token);
    return byte ? *byte + kFirstByte : kUnknown;
  }

  std::optional<std::string> token_of(int32_t id) const override {
    if (const auto found = tokens_.find(id); found != tokens_.end()) return found->second;
    if (id < kFirstByte || id - kFirstByte >= static_cast<int32_t>(kBytes)) return std::nullopt;
    return latin1_character(static_cast<unsigned char>(id - kFirstByte));
  }

  std::string text_of(std::span<const std::string> tokens) const override {
    std::string bytes;
    for (const std::string& token : tokens) {
      if (const std::optional<unsigned char> byte = byte_of(token)) {
        bytes += static_cast<char>(*byte);
      } else {
        bytes += token;
      }
    }
    std::string text = without_invalid(bytes);
    return cleans_up_ ? cleaned_up(std::move(text)) : text;
  }

  AddedTokens cutter_;
  bool cleans_up_;
  std::map<std::string, int32_t, std::less<>> ids_;
  std::map<int32_t, std::string> tokens_;
  std::array<int32_t, kBytes> byte_ids_{};
};

}  // namespace

std::unique_ptr<const Tokenizer> create_byt5(const io::Json& settings, const Files&) {
  return std::make_unique<const ByT5Tokenizer>(settings);
}

}  // namespace pytransformer::text
