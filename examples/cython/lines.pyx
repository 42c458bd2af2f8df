# cython: language_level=3
# distutils: language=c++
"""Translates lines in several threads, none of which holds the GIL."""

cimport pytransformer as pt
from cython.parallel cimport prange
from libcpp.vector cimport vector

# What a thread hands over at a time. The engine makes one batch of what all threads give.
cdef enum:
    BATCH = 32


cdef class Translator:
    """A model; its methods may be called from several threads of Python at once, too."""

    cdef pt.pytransformer_translator* translator

    def __cinit__(self, str path):
        cdef bytes name = path.encode()
        cdef const char* c_name = name
        with nogil:
            self.translator = pt.open(c_name, NULL)

    def __dealloc__(self):
        pt.close(self.translator)

    def translate(self, lines, *, str tgt_lang="", int beam_size=1, int threads=4):
        """The translation of each line, and its score."""
        cdef bytes to = tgt_lang.encode()
        cdef pt.pytransformer_options options
        cdef vector[pt.pytransformer_text] texts
        cdef vector[pt.pytransformer_result*] results
        cdef Py_ssize_t i
        pt.options_init(&options)
        options.tgt_lang = to
        options.beam_size = beam_size
        options.return_scores = 1
        encoded = [line.encode() for line in lines]  # whose bytes the texts lead to
        for line in encoded:
            texts.push_back(pt.pytransformer_text(line, len(line)))
        results.resize((texts.size() + BATCH - 1) // BATCH)
        try:
            for i in prange(
                <Py_ssize_t>results.size(), nogil=True, num_threads=threads, schedule="dynamic"
            ):
                results[i] = self.batch(texts, i * BATCH, &options)
            return [scored(results[i // BATCH], i % BATCH) for i in range(<Py_ssize_t>texts.size())]
        finally:
            for i in range(<Py_ssize_t>results.size()):
                pt.result_free(results[i])

    cdef pt.pytransformer_result* batch(
        self, vector[pt.pytransformer_text]& texts, size_t begin,
        const pt.pytransformer_options* options,
    ) except NULL nogil:
        cdef size_t count = min(<size_t>BATCH, texts.size() - begin)
        return pt.translate_texts(self.translator, &texts[begin], count, options)


cdef scored(pt.pytransformer_result* result, size_t line):
    cdef pt.pytransformer_hypothesis best
    pt.hypothesis_init(&best)
    pt.result_get(result, line, 0, &best)
    return best.text.data[:best.text.length].decode(), best.score
