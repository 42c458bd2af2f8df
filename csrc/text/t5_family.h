// What the tokenizers of T5 and of ByT5 have in common: one vocabulary for both sides, for models
// that are told what to do by text.
#pragma once

#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "io/json.h"
#include "text/added_tokens.h"
#include "text/language_prefixes.h"
#include "text/tokenizer.h"

namespace pytransformer::text {

class T5Family : public Tokenizer {
 public:
  std::vector<int32_t> encode_target_ids(std::string_view text) const final;
  std::vector<int32_t> source_ids(std::span<const std::string_view> tokens) const final;
  std::vector<int32_t> target_ids(std::span<const std::string_view> tokens) const final;
  std::string source_token(int32_t id) const final;
  std::string target_token(int32_t id) const final;
  std::string decode(std::span<const int32_t> ids) const final;
  std::vector<int32_t> closing(std::span<const int32_t>) const final { return {end_id_}; }
  // A language is named in front of the source.
  std::optional<int32_t> forced_bos_id(std::string_view) const final { return std::nullopt; }
  std::optional<int32_t> decoder_start_id(std::string_view) const final { return std::nullopt; }
  std::optional<int32_t> unknown_id() const final { return unknown_id_; }
  std::span<const std::string> source_languages() const final {
    return prefixes_.sources().codes();
  }
  std::span<const std::string> target_languages() const final {
    return prefixes_.targets().codes();
  }

 protected:
  // Settings: `added_tokens`, of which special ones have no place in texts; `num_embeddings`, so
  // many ids can come, some of which may have no token; `language_prefixes`.
  T5Family(const io::Json& settings, int32_t unknown_id);
  // The setting `eos_token`; throws CheckpointError if there is no such token.
  void read_end(const io::Json& settings);

  int32_t end_id() const { return end_id_; }
  // The ids of a text's tokens behind the languages' prefix.
  std::vector<int32_t> cut_source(std::string_view text, const Languages& languages) const;

  virtual std::vector<int32_t> cut(std::string_view text) const = 0;
  // The id of a token, the unknown one if there is no such token.
  virtual int32_t id_of(std::string_view token) const = 0;
  // The token of an id, if it has one; any id may be asked for.
  virtual std::optional<std::string> token_of(int32_t id) const = 0;
  virtual std::string text_of(std::span<const std::string> tokens) const = 0;

 private:
  // None for a row that the embedding has more than there are tokens.
  std::optional<std::string> checked_token(int32_t id) const;

  int32_t unknown_id_;
  int32_t end_id_ = 0;
  int32_t num_embeddings_;
  std::vector<int32_t> special_ids_;  // sorted
  LanguagePrefixes prefixes_;
};

}  // namespace pytransformer::text
