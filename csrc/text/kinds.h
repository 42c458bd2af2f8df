// The kinds of tokenizers. Each throws io::JsonError or CheckpointError.
#pragma once

#include <memory>

#include "text/tokenizer.h"

namespace pytransformer::text {

std::unique_ptr<const Tokenizer> create_marian(const io::Json& settings, const Files& files);
std::unique_ptr<const Tokenizer> create_marian_vocabulary(const io::Json& settings,
                                                          const Files& files);
std::unique_ptr<const Tokenizer> create_vocabulary_list(const io::Json& settings,
                                                        const Files& files);
std::unique_ptr<const Tokenizer> create_m2m100(const io::Json& settings, const Files& files);
std::unique_ptr<const Tokenizer> create_metaspace(const io::Json& settings, const Files& files);
std::unique_ptr<const Tokenizer> create_t5(const io::Json& settings, const Files& files);
std::unique_ptr<const Tokenizer> create_byt5(const io::Json& settings, const Files& files);

}  // namespace pytransformer::text
