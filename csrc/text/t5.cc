// The tokenizer of T5 and its relatives: words with the space in front of them, cut into pieces.
//
// Ids and texts equal those of transformers' T5Tokenizer. Its peculiarities, kept on purpose:
// special tokens that stand literally in a text become those tokens, and a piece that stands for a
// single byte is shown as it is written.
#include <utility>

#include "text/kinds.h"
#include "text/pieces.h"
#include "text/settings.h"
#include "text/t5_family.h"

namespace pytransformer::text {
namespace {

class T5Tokenizer : public T5Family {
 public:
  T5Tokenizer(const io::Json& settings, std::unique_ptr<const Pieces> pieces)
      : T5Family(settings, pieces->unknown_id()), pieces_(std::move(pieces)) {
    read_end(settings);
  }

  std::vector<int32_t> encode_ids(std::string_view text, const Languages& given) const override {
    std::vector<int32_t> ids = cut_source(text, given);
    ids.push_back(end_id());
    return ids;
  }

 private:
  std::vector<int32_t> cut(std::string_view text) const override {
    return pieces_->cut_names(text);
  }
  int32_t id_of(std::string_view token) const override { return pieces_->id_of(token); }
  std::optional<std::string> token_of(int32_t id) const override {
    return std::optional<std::string>(pieces_->token_of(id));
  }
  std::string text_of(std::span<const std::string> tokens) const override {
    return pieces_->text_of(std::vector<std::string_view>(tokens.begin(), tokens.end()));
  }

  std::unique_ptr<const Pieces> pieces_;
};

}  // namespace

std::unique_ptr<const Tokenizer> create_t5(const io::Json& settings, const Files& files) {
  return std::make_unique<const T5Tokenizer>(settings, metaspace_pieces(settings, files));
}

}  // namespace pytransformer::text
