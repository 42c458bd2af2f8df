// The C interface as a table of pointers, for a module that is loaded beside the one that holds it.
#pragma once

#include "pytransformer.h"

namespace pytransformer::embed {

struct Table {
  decltype(&::pytransformer_open) open;
  decltype(&::pytransformer_open_memory) open_memory;
  decltype(&::pytransformer_close) close;
  decltype(&::pytransformer_get_info) get_info;
  decltype(&::pytransformer_source_language) source_language;
  decltype(&::pytransformer_target_language) target_language;
  decltype(&::pytransformer_options_init) options_init;
  decltype(&::pytransformer_translate_texts) translate_texts;
  decltype(&::pytransformer_translate_tokens) translate_tokens;
  decltype(&::pytransformer_translate_ids) translate_ids;
  decltype(&::pytransformer_hypothesis_init) hypothesis_init;
  decltype(&::pytransformer_result_count) result_count;
  decltype(&::pytransformer_result_hypotheses) result_hypotheses;
  decltype(&::pytransformer_result_get) result_get;
  decltype(&::pytransformer_result_text) result_text;
  decltype(&::pytransformer_result_free) result_free;
  decltype(&::pytransformer_encode) encode;
  decltype(&::pytransformer_decode) decode;
};

inline constexpr Table kTable = {
    .open = ::pytransformer_open,
    .open_memory = ::pytransformer_open_memory,
    .close = ::pytransformer_close,
    .get_info = ::pytransformer_get_info,
    .source_language = ::pytransformer_source_language,
    .target_language = ::pytransformer_target_language,
    .options_init = ::pytransformer_options_init,
    .translate_texts = ::pytransformer_translate_texts,
    .translate_tokens = ::pytransformer_translate_tokens,
    .translate_ids = ::pytransformer_translate_ids,
    .hypothesis_init = ::pytransformer_hypothesis_init,
    .result_count = ::pytransformer_result_count,
    .result_hypotheses = ::pytransformer_result_hypotheses,
    .result_get = ::pytransformer_result_get,
    .result_text = ::pytransformer_result_text,
    .result_free = ::pytransformer_result_free,
    .encode = ::pytransformer_encode,
    .decode = ::pytransformer_decode,
};

// What the capsule that carries it is called.
inline constexpr const char* kTableName = "pytransformer._native.c_table";

}  // namespace pytransformer::embed
