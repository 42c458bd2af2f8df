# cython: language_level=3
# distutils: language=c++
"""Translates lines in several threads, none of which holds the GIL."""

cimport pytransformer as pt
from cython.parallel cimport prange
from libc.stdint cimport int32_t
from libcpp.vector cimport vector

import pytransformer

# How many lines one thread hands over at a time. The engine makes one batch of what all threads give.
cdef enum:
    BATCH = 32


cdef class Model:
    """A model; its translate() may be called from several threads of Python too."""

    cdef pt.pytransformer_translator* translator
    cdef object tokenizer

    def __cinit__(self, str path):
        cdef bytes name = path.encode()
        cdef const char* c_name = name
        # Ids go through the engine of every build; this is the tokenizer of Python.
        self.tokenizer = pytransformer.Translator(path).tokenizer
        with nogil:
            self.translator = pt.open(c_name, NULL)

    def __dealloc__(self):
        pt.close(self.translator)

    def translate(self, lines, *, tgt_lang=None, int beam_size=1, int threads=4):
        """The translation of each line and its score."""
        cdef pt.pytransformer_options options
        cdef pt.pytransformer_hypothesis best
        cdef vector[vector[int32_t]] ids
        cdef vector[pt.pytransformer_ids] views
        cdef vector[pt.pytransformer_result*] results
        cdef Py_ssize_t i
        pt.options_init(&options)
        pt.hypothesis_init(&best)
        options.beam_size = beam_size
        options.return_scores = 1
        blank = self.tokenizer.source_ids([])  # whose translation is empty
        for line in lines:
            has_text = bool(line.strip())
            ids.push_back(
                self.tokenizer.encode_ids(line, tgt_lang=tgt_lang) if has_text else blank
            )
        for i in range(<Py_ssize_t>ids.size()):
            views.push_back(pt.pytransformer_ids(ids[i].data(), ids[i].size()))
        results.resize((ids.size() + BATCH - 1) // BATCH)
        try:
            for i in prange(<Py_ssize_t>results.size(), nogil=True, num_threads=threads,
                            schedule="dynamic"):
                results[i] = self.batch(views, i * BATCH, &options)
            found = []
            for i in range(<Py_ssize_t>ids.size()):
                pt.result_get(results[i // BATCH], i % BATCH, 0, &best)
                text = self.tokenizer.decode([best.ids.data[j] for j in range(best.ids.count)])
                found.append((text, best.score))
            return found
        finally:
            for i in range(<Py_ssize_t>results.size()):
                pt.result_free(results[i])

    cdef pt.pytransformer_result* batch(
        self, vector[pt.pytransformer_ids]& views, Py_ssize_t begin,
        pt.pytransformer_options* options,
    ) except NULL nogil:
        cdef size_t count = min(<size_t>BATCH, views.size() - <size_t>begin)
        return pt.translate_ids(self.translator, &views[begin], NULL, count, options)
