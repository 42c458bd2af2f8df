/* pytransformer for C: translation with Transformer models on a CPU.
 *
 * Ten lines and more in docs/embedding.md. What holds for all of it:
 *
 * - Errors. A function that can fail returns a pytransformer_status and, if `error` is not NULL,
 *   writes the status and a message there. What it should have made is then NULL or untouched.
 * - Ownership. Who calls owns what it passes in, and may free it when the call returns, but for the
 *   image of pytransformer_open_memory. Translators and results belong to the caller, who gives
 *   them back by pytransformer_close and pytransformer_result_free; what is read from them lives as
 *   long as they do. Nothing is ever freed by the caller's free().
 * - Threads. One translator may be used by any number of threads at once; calls that run at the
 *   same time share batches. A result, an options struct and an error belong to one thread at a
 *   time. pytransformer_close must come after the last call has returned.
 * - Growth. Structs begin with their size, which the macros ..._INIT and the functions ..._init
 *   set: a program built with an older header goes on working with a newer library of the same
 *   soname.
 * - Text is UTF-8. It may hold NULs where its length is given.
 *
 * There is no global state. The first translation starts threads, pytransformer_close joins them.
 * A child of fork() may use the translators of its parent.
 */
#ifndef PYTRANSFORMER_H
#define PYTRANSFORMER_H

#include <stddef.h>
#include <stdint.h>

#if defined(__GNUC__)
#define PYTRANSFORMER_API __attribute__((visibility("default")))
#else
#define PYTRANSFORMER_API
#endif

#ifdef __cplusplus
extern "C" {
#endif

/* -- Errors ------------------------------------------------------------------------------------ */

typedef enum pytransformer_status {
  PYTRANSFORMER_OK = 0,
  PYTRANSFORMER_ERROR_ARGUMENT = 1,     /* NULL where there must be something, an index, a size */
  PYTRANSFORMER_ERROR_FILE = 2,         /* the system cannot open or map the file */
  PYTRANSFORMER_ERROR_CHECKPOINT = 3,   /* the model is damaged, or no native model file */
  PYTRANSFORMER_ERROR_UNSUPPORTED = 4,  /* it is sound, but not for this build of the library */
  PYTRANSFORMER_ERROR_OPTION = 5,       /* options, tokens or languages that the model has not */
  PYTRANSFORMER_ERROR_INPUT_LENGTH = 6, /* an input is longer than the model's positions */
  PYTRANSFORMER_ERROR_DECODING = 7,     /* a search came to nothing, or numbers are not finite */
  PYTRANSFORMER_ERROR_MEMORY = 8,       /* max_memory does not suffice, or the system has no more */
  PYTRANSFORMER_ERROR_CANCELLED = 9,    /* a callback asked for the end */
  PYTRANSFORMER_ERROR_INTERNAL = 10     /* the system refuses threads, or a defect */
} pytransformer_status;

/* Filled by a call that fails; otherwise untouched. */
typedef struct pytransformer_error {
  size_t size;
  int32_t status;
  char message[1012]; /* ends with NUL; cut at a whole character if it would be longer */
} pytransformer_error;

#define PYTRANSFORMER_ERROR_INIT {sizeof(pytransformer_error), PYTRANSFORMER_OK, ""}

/* Version of the library, such as "0.1.0". */
PYTRANSFORMER_API const char* pytransformer_version(void);

/* -- Translators ------------------------------------------------------------------------------- */

typedef struct pytransformer_translator pytransformer_translator;

/* Zero or NULL stands for the default. */
typedef struct pytransformer_settings {
  size_t size;
  int32_t inter_threads; /* workers that translate in parallel; 1 */
  int32_t intra_threads; /* threads of each; the cores that this process may use, shared out */
  const char* isa;       /* instruction set, such as "avx2"; PYTRANSFORMER_ISA's, or the best */
  uint64_t max_memory; /* bytes that translating may take, the model's file not counted; no limit */
} pytransformer_settings;

#define PYTRANSFORMER_SETTINGS_INIT {sizeof(pytransformer_settings), 0, 0, NULL, 0}

/* Opens a native model file (docs/native-format.md), which is mapped and shared with other
 * processes. `settings` may be NULL. */
PYTRANSFORMER_API pytransformer_status pytransformer_open(const char* path,
                                                          const pytransformer_settings* settings,
                                                          pytransformer_translator** translator,
                                                          pytransformer_error* error);

/* The same from memory. An image at a multiple of 64 bytes is used where it lies, so it must live
 * until pytransformer_close; any other is copied. */
PYTRANSFORMER_API pytransformer_status
pytransformer_open_memory(const void* image, size_t size, const pytransformer_settings* settings,
                          pytransformer_translator** translator, pytransformer_error* error);

/* Ends the translator's threads, and frees it. NULL is fine. */
PYTRANSFORMER_API void pytransformer_close(pytransformer_translator* translator);

/* What there is to know of a translator. Strings live as long as it does. */
typedef struct pytransformer_info {
  size_t size;
  const char* family;       /* such as "marian" */
  const char* compute_type; /* of the matrices, or of most: "float32", "bfloat16", "int8", "int4" */
  const char* isa;          /* instruction set in use */
  int64_t num_parameters;
  int64_t source_vocab_size;
  int64_t target_vocab_size;
  int64_t max_source_length;   /* tokens, the end token included; 0: positions have no end */
  int64_t max_decoding_length; /* tokens without the end token; 0: likewise */
  int32_t inter_threads;
  int32_t intra_threads;
  int32_t translates_text; /* 0: only tokens or ids; the model's tokenizer is not in this build */
} pytransformer_info;

#define PYTRANSFORMER_INFO_INIT \
  {sizeof(pytransformer_info), NULL, NULL, NULL, 0, 0, 0, 0, 0, 0, 0, 0}

PYTRANSFORMER_API pytransformer_status
pytransformer_get_info(const pytransformer_translator* translator, pytransformer_info* info,
                       pytransformer_error* error);

/* The `index`-th language that src_lang or tgt_lang may name; NULL behind the last one, and where
 * the model does not say. */
PYTRANSFORMER_API const char* pytransformer_source_language(
    const pytransformer_translator* translator, size_t index);
PYTRANSFORMER_API const char* pytransformer_target_language(
    const pytransformer_translator* translator, size_t index);

/* -- Input ------------------------------------------------------------------------------------- */

/* A text; with the length SIZE_MAX it ends with NUL. */
typedef struct pytransformer_text {
  const char* data;
  size_t length;
} pytransformer_text;

typedef struct pytransformer_ids {
  const int32_t* data;
  size_t count;
} pytransformer_ids;

typedef struct pytransformer_tokens {
  const pytransformer_text* data;
  size_t count;
} pytransformer_tokens;

/* -- Options ----------------------------------------------------------------------------------- */

#define PYTRANSFORMER_UNSET INT32_MIN

enum {
  PYTRANSFORMER_EARLY_STOPPING_HEURISTIC,
  PYTRANSFORMER_EARLY_STOPPING_FULL,
  PYTRANSFORMER_EARLY_STOPPING_NEVER
};
enum {
  PYTRANSFORMER_BEAM_RULE_GENERATE,
  PYTRANSFORMER_BEAM_RULE_MARIAN,
  PYTRANSFORMER_BEAM_RULE_CTRANSLATE2
};
enum { PYTRANSFORMER_BATCH_EXAMPLES, PYTRANSFORMER_BATCH_TOKENS };

/* Called on the thread that translates, with each token that nothing can change any more; `token`
 * is -1 behind the last one of a sentence. With any other result than 0 the call ends. */
typedef int (*pytransformer_token_callback)(void* context, size_t sentence, int32_t step,
                                            int32_t token, float log_prob);
/* The same with pieces of the texts: in order, one behind another, words as soon as they are
 * certain. */
typedef int (*pytransformer_text_callback)(void* context, size_t text, const char* piece,
                                           size_t length);

/* docs/decoding.md says what each option means. pytransformer_options_init leaves all of them unset
 * (integers PYTRANSFORMER_UNSET, numbers NaN, the others zero): what is unset is as the model says.
 * Lengths count tokens without start and end token. */
typedef struct pytransformer_options {
  size_t size;

  int32_t beam_size;
  int32_t num_hypotheses;
  float patience;
  float length_penalty;
  float coverage_penalty;
  float repetition_penalty;
  int32_t no_repeat_ngram_size;
  int32_t renormalize_logits;
  int32_t num_beam_groups;
  float diversity_penalty;
  int32_t early_stopping; /* PYTRANSFORMER_EARLY_STOPPING_... */
  int32_t beam_rule;      /* PYTRANSFORMER_BEAM_RULE_... */
  int32_t max_decoding_length;
  int32_t min_decoding_length;
  float max_length_factor;
  int32_t max_input_length;
  int32_t stop_loops;
  int32_t disable_unk;
  float prefix_bias_beta;
  int32_t return_alternatives;
  float min_alternative_expansion_prob;

  int32_t sampling_topk;
  float sampling_topp;
  float sampling_temperature;
  const uint64_t* seed; /* NULL: another one in each call */

  int32_t return_scores; /* without it, the score of a greedy search is 0 */
  int32_t return_end_token;
  int32_t return_attention;
  int32_t attention_layer;
  pytransformer_ids attention_heads;

  int32_t decoder_start_token_id;
  int32_t forced_bos_token_id; /* -1: none */
  int32_t forced_eos_token_id;
  pytransformer_ids end_tokens;
  pytransformer_ids allowed_tokens;
  const pytransformer_ids* suppress_sequences;
  size_t num_suppress_sequences;
  const pytransformer_ids* force_phrases;
  size_t num_force_phrases;

  int32_t max_batch_size;
  int32_t batch_type; /* PYTRANSFORMER_BATCH_... */

  /* Of texts; tgt_lang counts for tokens and ids too. NULL or of no length: not given. */
  const char* src_lang;
  const char* tgt_lang;
  pytransformer_text target_prefix;

  pytransformer_token_callback on_token; /* for tokens and ids */
  pytransformer_text_callback on_text;   /* for texts */
  void* context;                         /* the callbacks' */
} pytransformer_options;

PYTRANSFORMER_API void pytransformer_options_init(pytransformer_options* options, size_t size);

/* -- Translating ------------------------------------------------------------------------------- */

typedef struct pytransformer_result pytransformer_result;

/* Translates texts line by line, as Translator.translate of Python does: every newline stays where
 * it is, a line without content becomes an empty one. */
PYTRANSFORMER_API pytransformer_status
pytransformer_translate_texts(pytransformer_translator* translator, const pytransformer_text* texts,
                              size_t count, const pytransformer_options* options,
                              pytransformer_result** result, pytransformer_error* error);

/* Translates sentences given as tokens. The end token is added unless it is there. `prefixes`: how
 * each translation begins; NULL for none. */
PYTRANSFORMER_API pytransformer_status pytransformer_translate_tokens(
    pytransformer_translator* translator, const pytransformer_tokens* sources,
    const pytransformer_tokens* prefixes, size_t count, const pytransformer_options* options,
    pytransformer_result** result, pytransformer_error* error);

/* The same with ids, for which no tokenizer is needed: the end token must then be there. */
PYTRANSFORMER_API pytransformer_status pytransformer_translate_ids(
    pytransformer_translator* translator, const pytransformer_ids* sources,
    const pytransformer_ids* prefixes, size_t count, const pytransformer_options* options,
    pytransformer_result** result, pytransformer_error* error);

typedef enum pytransformer_finish_reason {
  PYTRANSFORMER_FINISH_END = 0,    /* an end token */
  PYTRANSFORMER_FINISH_LENGTH = 1, /* max_decoding_length */
  PYTRANSFORMER_FINISH_LOOP = 2    /* stop_loops */
} pytransformer_finish_reason;

/* One translation. Pointers lead into the result. A text of several lines has a text alone. */
typedef struct pytransformer_hypothesis {
  size_t size;
  pytransformer_text text;     /* of texts, and ends with NUL; otherwise NULL */
  pytransformer_tokens tokens; /* of tokens; otherwise NULL */
  pytransformer_ids ids;
  float score;
  const float* log_probs; /* [num_log_probs]: of the tokens behind the prefix, and the end token */
  size_t num_log_probs;
  const float* attention; /* [ids.count, source_length] if asked for; otherwise NULL */
  size_t source_length;
  int32_t finish_reason;
} pytransformer_hypothesis;

PYTRANSFORMER_API void pytransformer_hypothesis_init(pytransformer_hypothesis* hypothesis,
                                                     size_t size);

/* How many texts or sentences there are, and how many hypotheses of one; 0 for an index beyond. */
PYTRANSFORMER_API size_t pytransformer_result_count(const pytransformer_result* result);
PYTRANSFORMER_API size_t pytransformer_result_hypotheses(const pytransformer_result* result,
                                                         size_t sentence);
/* One hypothesis, the best being 0. */
PYTRANSFORMER_API pytransformer_status pytransformer_result_get(const pytransformer_result* result,
                                                                size_t sentence, size_t hypothesis,
                                                                pytransformer_hypothesis* found,
                                                                pytransformer_error* error);
/* The best translation of a text, ended by NUL; NULL for an index beyond, or where there are only
 * tokens or ids. */
PYTRANSFORMER_API const char* pytransformer_result_text(const pytransformer_result* result,
                                                        size_t text);
PYTRANSFORMER_API void pytransformer_result_free(pytransformer_result* result);

/* -- Text and ids ------------------------------------------------------------------------------ */

/* The ids of a line as the model reads them, the end token included. Writes at most `capacity` of
 * them, and to `count` how many there are. Languages may be NULL. */
PYTRANSFORMER_API pytransformer_status pytransformer_encode(
    const pytransformer_translator* translator, pytransformer_text line, const char* src_lang,
    const char* tgt_lang, int32_t* ids, size_t capacity, size_t* count, pytransformer_error* error);

/* The text of a translation's ids, without special tokens. Writes at most `capacity` bytes, NUL
 * included if there is room, and to `length` how many bytes the text has. */
PYTRANSFORMER_API pytransformer_status
pytransformer_decode(const pytransformer_translator* translator, pytransformer_ids ids, char* text,
                     size_t capacity, size_t* length, pytransformer_error* error);

#ifdef __cplusplus
}
#endif

#endif
