#include "text/tokenizer.h"

#include "io/json.h"
#include "text/errors.h"
#include "text/kinds.h"
#include "text/unicode.h"

namespace pytransformer::text {
namespace {

using Create = std::unique_ptr<const Tokenizer> (*)(const io::Json&, const Files&);

struct Kind {
  std::string_view name;
  Create create;
};

constexpr Kind kKinds[] = {
    {"byt5", create_byt5},
    {"m2m100", create_m2m100},
    {"marian", create_marian},
    {"marian_vocabulary", create_marian_vocabulary},
    {"metaspace", create_metaspace},
    {"t5", create_t5},
    {"vocabulary_list", create_vocabulary_list},
};
// Those that need libraries of Python's.
constexpr std::string_view kOnlyInPython[] = {"library", "moses", "wordpiece"};

[[noreturn]] void refuse(std::string_view kind) {
  for (const std::string_view only : kOnlyInPython) {
    if (kind != only) continue;
    throw UnsupportedError("this model's tokenizer (" + std::string(kind) +
                           ") is there in Python only; give and take ids instead of text");
  }
  throw UnsupportedError("no tokenizer of kind " + quoted(kind));
}

}  // namespace

std::unique_ptr<const Tokenizer> create(std::string_view kind, const io::Json& settings,
                                        const Files& files) {
  for (const Kind& known : kKinds) {
    if (kind != known.name) continue;
    try {
      return known.create(settings, files);
    } catch (const io::JsonError& error) {
      throw CheckpointError(std::string("the tokenizer's settings or files are incomplete: ") +
                            error.what());
    }
  }
  refuse(kind);
}

}  // namespace pytransformer::text
