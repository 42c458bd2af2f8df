# cython: language_level=3, freethreading_compatible=True
"""The C interface of the engine for `cimport pytransformer`; see __init__.pxd."""

from cpython.pycapsule cimport PyCapsule_GetPointer
from libc.stdint cimport int32_t

from pytransformer import _native, errors


cdef extern from "pytransformer.h" nogil:
    ctypedef int pytransformer_status
    const int PYTRANSFORMER_OK
    const int PYTRANSFORMER_ERROR_FILE
    const int PYTRANSFORMER_ERROR_CHECKPOINT
    const int PYTRANSFORMER_ERROR_UNSUPPORTED
    const int PYTRANSFORMER_ERROR_OPTION
    const int PYTRANSFORMER_ERROR_INPUT_LENGTH
    const int PYTRANSFORMER_ERROR_DECODING
    const int PYTRANSFORMER_ERROR_MEMORY

    ctypedef struct pytransformer_error:
        size_t size
        int32_t status
        char* message


cdef extern from "embed/table.h" namespace "pytransformer::embed" nogil:
    ctypedef struct Table:
        pytransformer_status (*open)(
            const char*, const pytransformer_settings*, pytransformer_translator**,
            pytransformer_error*) noexcept nogil
        pytransformer_status (*open_memory)(
            const void*, size_t, const pytransformer_settings*, pytransformer_translator**,
            pytransformer_error*) noexcept nogil
        void (*close)(pytransformer_translator*) noexcept nogil
        pytransformer_status (*get_info)(
            const pytransformer_translator*, pytransformer_info*, pytransformer_error*) noexcept nogil
        const char* (*source_language)(const pytransformer_translator*, size_t) noexcept nogil
        const char* (*target_language)(const pytransformer_translator*, size_t) noexcept nogil
        void (*options_init)(pytransformer_options*, size_t) noexcept nogil
        pytransformer_status (*translate_texts)(
            pytransformer_translator*, const pytransformer_text*, size_t,
            const pytransformer_options*, pytransformer_result**, pytransformer_error*) noexcept nogil
        pytransformer_status (*translate_tokens)(
            pytransformer_translator*, const pytransformer_tokens*, const pytransformer_tokens*,
            size_t, const pytransformer_options*, pytransformer_result**, pytransformer_error*) noexcept nogil
        pytransformer_status (*translate_ids)(
            pytransformer_translator*, const pytransformer_ids*, const pytransformer_ids*,
            size_t, const pytransformer_options*, pytransformer_result**, pytransformer_error*) noexcept nogil
        void (*hypothesis_init)(pytransformer_hypothesis*, size_t) noexcept nogil
        size_t (*result_count)(const pytransformer_result*) noexcept nogil
        size_t (*result_hypotheses)(const pytransformer_result*, size_t) noexcept nogil
        pytransformer_status (*result_get)(
            const pytransformer_result*, size_t, size_t, pytransformer_hypothesis*,
            pytransformer_error*) noexcept nogil
        const char* (*result_text)(const pytransformer_result*, size_t) noexcept nogil
        void (*result_free)(pytransformer_result*) noexcept nogil
        pytransformer_status (*encode)(
            const pytransformer_translator*, pytransformer_text, const char*, const char*,
            int32_t*, size_t, size_t*, pytransformer_error*) noexcept nogil
        pytransformer_status (*decode)(
            const pytransformer_translator*, pytransformer_ids, char*, size_t, size_t*,
            pytransformer_error*) noexcept nogil
    const char* kTableName


# The engine is part of the module _native, and there is only one.
cdef const Table* table = <const Table*>PyCapsule_GetPointer(_native.c_table, kTableName)

_TYPES = {
    PYTRANSFORMER_ERROR_FILE: OSError,
    PYTRANSFORMER_ERROR_CHECKPOINT: errors.CheckpointError,
    PYTRANSFORMER_ERROR_UNSUPPORTED: errors.UnsupportedModelError,
    PYTRANSFORMER_ERROR_OPTION: errors.OptionError,
    PYTRANSFORMER_ERROR_INPUT_LENGTH: errors.OptionError,
    PYTRANSFORMER_ERROR_DECODING: errors.DecodingError,
    PYTRANSFORMER_ERROR_MEMORY: errors.MemoryLimitError,
}


cdef int check(int status, const pytransformer_error* error) except -1 nogil:
    """Raises what a call reports."""
    if status == PYTRANSFORMER_OK:
        return 0
    with gil:
        text = (<bytes>error.message).decode("utf-8", "backslashreplace")
        raise _TYPES.get(status, RuntimeError)(text)


cdef inline pytransformer_error no_error() noexcept nogil:
    cdef pytransformer_error error
    error.size = sizeof(pytransformer_error)
    error.status = PYTRANSFORMER_OK
    error.message[0] = 0
    return error


cdef void settings_init(pytransformer_settings* settings) noexcept nogil:
    settings[0] = pytransformer_settings(sizeof(pytransformer_settings), 0, 0, NULL, 0)


cdef pytransformer_translator* open(
    const char* path, const pytransformer_settings* settings
) except NULL nogil:
    cdef pytransformer_translator* translator = NULL
    cdef pytransformer_error error = no_error()
    check(table.open(path, settings, &translator, &error), &error)
    return translator


cdef pytransformer_translator* open_memory(
    const void* image, size_t size, const pytransformer_settings* settings
) except NULL nogil:
    cdef pytransformer_translator* translator = NULL
    cdef pytransformer_error error = no_error()
    check(table.open_memory(image, size, settings, &translator, &error), &error)
    return translator


cdef void close(pytransformer_translator* translator) noexcept nogil:
    table.close(translator)


cdef int get_info(
    const pytransformer_translator* translator, pytransformer_info* info
) except -1 nogil:
    cdef pytransformer_error error = no_error()
    info.size = sizeof(pytransformer_info)
    return check(table.get_info(translator, info, &error), &error)


cdef const char* source_language(
    const pytransformer_translator* translator, size_t index
) noexcept nogil:
    return table.source_language(translator, index)


cdef const char* target_language(
    const pytransformer_translator* translator, size_t index
) noexcept nogil:
    return table.target_language(translator, index)


cdef void options_init(pytransformer_options* options) noexcept nogil:
    table.options_init(options, sizeof(pytransformer_options))


cdef pytransformer_result* translate_texts(
    pytransformer_translator* translator, const pytransformer_text* texts, size_t count,
    const pytransformer_options* options
) except NULL nogil:
    cdef pytransformer_result* result = NULL
    cdef pytransformer_error error = no_error()
    check(table.translate_texts(translator, texts, count, options, &result, &error), &error)
    return result


cdef pytransformer_result* translate_tokens(
    pytransformer_translator* translator, const pytransformer_tokens* sources,
    const pytransformer_tokens* prefixes, size_t count, const pytransformer_options* options
) except NULL nogil:
    cdef pytransformer_result* result = NULL
    cdef pytransformer_error error = no_error()
    check(
        table.translate_tokens(translator, sources, prefixes, count, options, &result, &error),
        &error,
    )
    return result


cdef pytransformer_result* translate_ids(
    pytransformer_translator* translator, const pytransformer_ids* sources,
    const pytransformer_ids* prefixes, size_t count, const pytransformer_options* options
) except NULL nogil:
    cdef pytransformer_result* result = NULL
    cdef pytransformer_error error = no_error()
    check(
        table.translate_ids(translator, sources, prefixes, count, options, &result, &error),
        &error,
    )
    return result


cdef void hypothesis_init(pytransformer_hypothesis* hypothesis) noexcept nogil:
    table.hypothesis_init(hypothesis, sizeof(pytransformer_hypothesis))


cdef size_t result_count(const pytransformer_result* result) noexcept nogil:
    return table.result_count(result)


cdef size_t result_hypotheses(const pytransformer_result* result, size_t sentence) noexcept nogil:
    return table.result_hypotheses(result, sentence)


cdef int result_get(
    const pytransformer_result* result, size_t sentence, size_t hypothesis,
    pytransformer_hypothesis* found
) except -1 nogil:
    cdef pytransformer_error error = no_error()
    return check(table.result_get(result, sentence, hypothesis, found, &error), &error)


cdef const char* result_text(const pytransformer_result* result, size_t text) noexcept nogil:
    return table.result_text(result, text)


cdef void result_free(pytransformer_result* result) noexcept nogil:
    table.result_free(result)


cdef Py_ssize_t encode(
    const pytransformer_translator* translator, pytransformer_text line, const char* src_lang,
    const char* tgt_lang, int32_t* ids, size_t capacity
) except -1 nogil:
    cdef size_t count = 0
    cdef pytransformer_error error = no_error()
    check(
        table.encode(translator, line, src_lang, tgt_lang, ids, capacity, &count, &error), &error
    )
    return <Py_ssize_t>count


cdef Py_ssize_t decode(
    const pytransformer_translator* translator, pytransformer_ids ids, char* text, size_t capacity
) except -1 nogil:
    cdef size_t length = 0
    cdef pytransformer_error error = no_error()
    check(table.decode(translator, ids, text, capacity, &length, &error), &error)
    return <Py_ssize_t>length
