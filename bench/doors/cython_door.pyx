# cython: language_level=3
"""The door for Cython, timed as doors.cc times the others."""

cimport pytransformer as pt
from libc.stdint cimport int32_t, int64_t
from posix.time cimport CLOCK_MONOTONIC, CLOCK_THREAD_CPUTIME_ID, clock_gettime, timespec

cdef enum:
    MOST_IDS = 512


cdef int64_t now(int clock) noexcept nogil:
    cdef timespec moment
    clock_gettime(clock, &moment)
    return moment.tv_sec * <int64_t>1000000000 + moment.tv_nsec


cdef class Door:
    cdef pt.pytransformer_translator* translator
    cdef pt.pytransformer_options options
    cdef bytes text
    cdef bytes language  # to which the options lead
    cdef int32_t[MOST_IDS] ids
    cdef size_t num_ids

    def __cinit__(self, bytes path, bytes text, bytes language, int length):
        cdef pt.pytransformer_settings settings
        pt.settings_init(&settings)
        settings.intra_threads = 1
        self.translator = pt.open(path, &settings)
        self.text = text
        self.language = language
        pt.options_init(&self.options)
        self.options.beam_size = 1
        self.options.min_decoding_length = self.options.max_decoding_length = length
        self.options.tgt_lang = language
        self.num_ids = pt.encode(
            self.translator, pt.pytransformer_text(text, len(text)), NULL, language,
            &self.ids[0], MOST_IDS,
        )
        assert self.num_ids <= MOST_IDS

    def __dealloc__(self):
        pt.close(self.translator)

    def run(self, bint is_text, int64_t[::1] times):
        """Fills `times`; returns what all of it took of the thread's own processor time."""
        cdef pt.pytransformer_ids ids = pt.pytransformer_ids(&self.ids[0], self.num_ids)
        cdef pt.pytransformer_text text = pt.pytransformer_text(self.text, len(self.text))
        cdef int64_t begin, start, taken
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
            taken = now(CLOCK_THREAD_CPUTIME_ID) - begin
        return taken

    cdef int call_ids(self, const pt.pytransformer_ids* source) except -1 nogil:
        cdef pt.pytransformer_hypothesis best
        cdef pt.pytransformer_result* result = pt.translate_ids(
            self.translator, source, NULL, 1, &self.options
        )
        pt.hypothesis_init(&best)
        pt.result_get(result, 0, 0, &best)
        pt.result_free(result)
        return 0

    cdef int call_text(self, const pt.pytransformer_text* source) except -1 nogil:
        cdef pt.pytransformer_result* result = pt.translate_texts(
            self.translator, source, 1, &self.options
        )
        pt.result_text(result, 0)
        pt.result_free(result)
        return 0
