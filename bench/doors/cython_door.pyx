# cython: language_level=3
"""The door for Cython, timed as doors.cc times the others."""

cimport pytransformer as pt
from libc.stdint cimport int32_t, int64_t
from posix.time cimport CLOCK_MONOTONIC, clock_gettime, timespec

import array
import time


cdef extern from "<time.h>" nogil:
    int CLOCK_THREAD_CPUTIME_ID


cdef int64_t now(int clock) noexcept nogil:
    cdef timespec moment
    clock_gettime(clock, &moment)
    return moment.tv_sec * <int64_t>1000000000 + moment.tv_nsec


cdef class Door:
    cdef pt.pytransformer_translator* translator
    cdef pt.pytransformer_options options
    cdef bytes language
    cdef bytes text
    cdef object ids

    def __cinit__(self, bytes path, bytes text, bytes language, int longest):
        cdef pt.pytransformer_settings settings
        pt.settings_init(&settings)
        settings.intra_threads = 1
        self.translator = pt.open(path, &settings)
        pt.options_init(&self.options)
        self.options.beam_size = 1
        self.options.max_decoding_length = longest
        self.options.tgt_lang = language
        self.language = language
        self.text = text
        cdef int32_t[512] ids
        count = pt.encode(
            self.translator, pt.pytransformer_text(text, len(text)), NULL, language, ids, 512
        )
        self.ids = array.array("i", ids[:count])

    def __dealloc__(self):
        pt.close(self.translator)

    def run(self, bint is_text, int64_t[::1] times):
        """Fills `times`; returns the thread's own processor time."""
        cdef int32_t[::1] source = self.ids
        cdef pt.pytransformer_ids ids = pt.pytransformer_ids(&source[0], len(self.ids))
        cdef pt.pytransformer_text text = pt.pytransformer_text(self.text, len(self.text))
        cdef int64_t begin, start
        cdef Py_ssize_t i
        with nogil:
            begin = now(CLOCK_THREAD_CPUTIME_ID)
            for i in range(times.shape[0]):
                start = now(CLOCK_MONOTONIC)
                if is_text:
                    self.call_text(&text)
                else:
                    self.call_ids(&ids)
                times[i] = now(CLOCK_MONOTONIC) - start
            return_value = now(CLOCK_THREAD_CPUTIME_ID) - begin
        return return_value

    cdef int call_ids(self, const pt.pytransformer_ids* source) except -1 nogil:
        cdef pt.pytransformer_hypothesis best
        result = pt.translate_ids(self.translator, source, NULL, 1, &self.options)
        pt.hypothesis_init(&best)
        pt.result_get(result, 0, 0, &best)
        pt.result_free(result)
        return best.ids.count > 0

    cdef int call_text(self, const pt.pytransformer_text* source) except -1 nogil:
        result = pt.translate_texts(self.translator, source, 1, &self.options)
        found = pt.result_text(result, 0) != NULL
        pt.result_free(result)
        return found
