# The C interface (pytransformer.h) with errors as exceptions. None of it needs the GIL; only to
# raise an exception of pytransformer.errors is it taken.
from libc.stdint cimport int32_t, int64_t, uint64_t


cdef extern from "pytransformer.h" nogil:
    const int32_t PYTRANSFORMER_UNSET

    ctypedef struct pytransformer_translator:
        pass
    ctypedef struct pytransformer_result:
        pass

    ctypedef struct pytransformer_settings:
        size_t size
        int32_t inter_threads
        int32_t intra_threads
        const char* isa
        uint64_t max_memory

    ctypedef struct pytransformer_info:
        size_t size
        const char* family
        const char* compute_type
        const char* isa
        int64_t num_parameters
        int64_t source_vocab_size
        int64_t target_vocab_size
        int64_t max_source_length
        int64_t max_decoding_length
        int32_t inter_threads
        int32_t intra_threads
        int32_t translates_text

    ctypedef struct pytransformer_text:
        const char* data
        size_t length

    ctypedef struct pytransformer_ids:
        const int32_t* data
        size_t count

    ctypedef struct pytransformer_tokens:
        const pytransformer_text* data
        size_t count

    ctypedef int (*pytransformer_token_callback)(
        void* context, size_t sentence, int32_t step, int32_t token, float log_prob
    ) noexcept nogil
    ctypedef int (*pytransformer_text_callback)(
        void* context, size_t text, const char* piece, size_t length
    ) noexcept nogil

    ctypedef struct pytransformer_options:
        size_t size
        int32_t beam_size
        int32_t num_hypotheses
        float patience
        float length_penalty
        float coverage_penalty
        float repetition_penalty
        int32_t no_repeat_ngram_size
        int32_t renormalize_logits
        int32_t num_beam_groups
        float diversity_penalty
        int32_t early_stopping
        int32_t beam_rule
        int32_t max_decoding_length
        int32_t min_decoding_length
        float max_length_factor
        int32_t max_input_length
        int32_t stop_loops
        int32_t disable_unk
        float prefix_bias_beta
        int32_t return_alternatives
        float min_alternative_expansion_prob
        int32_t sampling_topk
        float sampling_topp
        float sampling_temperature
        const uint64_t* seed
        int32_t return_scores
        int32_t return_end_token
        int32_t return_attention
        int32_t attention_layer
        pytransformer_ids attention_heads
        int32_t decoder_start_token_id
        int32_t forced_bos_token_id
        int32_t forced_eos_token_id
        pytransformer_ids end_tokens
        pytransformer_ids allowed_tokens
        const pytransformer_ids* suppress_sequences
        size_t num_suppress_sequences
        const pytransformer_ids* force_phrases
        size_t num_force_phrases
        int32_t max_batch_size
        int32_t batch_type
        const char* src_lang
        const char* tgt_lang
        pytransformer_text target_prefix
        pytransformer_token_callback on_token
        pytransformer_text_callback on_text
        void* context

    ctypedef enum pytransformer_finish_reason:
        PYTRANSFORMER_FINISH_END
        PYTRANSFORMER_FINISH_LENGTH
        PYTRANSFORMER_FINISH_LOOP

    ctypedef struct pytransformer_hypothesis:
        size_t size
        pytransformer_text text
        pytransformer_tokens tokens
        pytransformer_ids ids
        float score
        const float* log_probs
        size_t num_log_probs
        const float* attention
        size_t source_length
        int32_t finish_reason


# Translators. `settings` may be NULL. close() takes NULL too.
cdef void settings_init(pytransformer_settings* settings) noexcept nogil
cdef pytransformer_translator* open(
    const char* path, const pytransformer_settings* settings
) except NULL nogil
cdef pytransformer_translator* open_memory(
    const void* image, size_t size, const pytransformer_settings* settings
) except NULL nogil
cdef void close(pytransformer_translator* translator) noexcept nogil
cdef int get_info(
    const pytransformer_translator* translator, pytransformer_info* info
) except -1 nogil
cdef const char* source_language(
    const pytransformer_translator* translator, size_t index
) noexcept nogil
cdef const char* target_language(
    const pytransformer_translator* translator, size_t index
) noexcept nogil

# Translating. `options` and `prefixes` may be NULL.
cdef void options_init(pytransformer_options* options) noexcept nogil
cdef pytransformer_result* translate_texts(
    pytransformer_translator* translator, const pytransformer_text* texts, size_t count,
    const pytransformer_options* options
) except NULL nogil
cdef pytransformer_result* translate_tokens(
    pytransformer_translator* translator, const pytransformer_tokens* sources,
    const pytransformer_tokens* prefixes, size_t count, const pytransformer_options* options
) except NULL nogil
cdef pytransformer_result* translate_ids(
    pytransformer_translator* translator, const pytransformer_ids* sources,
    const pytransformer_ids* prefixes, size_t count, const pytransformer_options* options
) except NULL nogil

# Results.
cdef void hypothesis_init(pytransformer_hypothesis* hypothesis) noexcept nogil
cdef size_t result_count(const pytransformer_result* result) noexcept nogil
cdef size_t result_hypotheses(const pytransformer_result* result, size_t sentence) noexcept nogil
cdef int result_get(
    const pytransformer_result* result, size_t sentence, size_t hypothesis,
    pytransformer_hypothesis* found
) except -1 nogil
cdef const char* result_text(const pytransformer_result* result, size_t text) noexcept nogil
cdef void result_free(pytransformer_result* result) noexcept nogil

# Text and ids: how many there are, of which at most `capacity` were written.
cdef Py_ssize_t encode(
    const pytransformer_translator* translator, pytransformer_text line, const char* src_lang,
    const char* tgt_lang, int32_t* ids, size_t capacity
) except -1 nogil
cdef Py_ssize_t decode(
    const pytransformer_translator* translator, pytransformer_ids ids, char* text, size_t capacity
) except -1 nogil
