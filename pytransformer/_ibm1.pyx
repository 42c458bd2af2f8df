# cython: language_level=3, boundscheck=False, wraparound=False, cdivision=True
# cython: initializedcheck=False, freethreading_compatible=True
"""IBM Model 1 over token ids, by expectation maximisation.

Brown, Della Pietra, Della Pietra and Mercer 1993, "The Mathematics of Statistical Machine
Translation", section 4.1. The table holds the pairs that stand together in some sentence pair, and
nothing else: an open-addressing hash table, whose layout follows from the text alone, so that the
same text gives the same bits.
"""

cimport cython
from libc.math cimport NAN, isnan, log
from libc.stdint cimport int32_t, int64_t, uint64_t

import threading

import numpy as np

cdef uint64_t EMPTY = 0xFFFFFFFFFFFFFFFF
# Knuth's multiplicative hashing: 2^64 divided by the golden ratio.
cdef uint64_t GOLDEN = 0x9E3779B97F4A7C15
cdef Py_ssize_t FIRST_CAPACITY = 1 << 12


@cython.final
cdef class Ibm1:
    """The translation table t(target | source) and one step of its estimation."""

    # Whoever works on the table works alone: they let go of the GIL, or there is none.
    cdef object _lock
    cdef uint64_t[::1] _keys
    cdef double[::1] _probabilities
    cdef double[::1] _counts
    cdef int _shift
    cdef Py_ssize_t _size
    cdef Py_ssize_t _source_size
    cdef Py_ssize_t _target_size
    cdef Py_ssize_t _null

    def __cinit__(self):
        # Always run, and once: without it an array would be a null pointer.
        self._lock = threading.RLock()
        self._null = -1
        self._start()

    def __init__(self, source_size, target_size, null_word=True):
        for name, size in (("source_size", source_size), ("target_size", target_size)):
            if not 0 < size < 2**31:
                raise ValueError(f"{name} is {size}, expected 1 to {2**31 - 1}")
        with self._lock:
            self._source_size = source_size
            self._target_size = target_size
            self._null = source_size if null_word else -1
            self._start()

    @property
    def num_pairs(self):
        with self._lock:
            return self._size

    def add_pairs(self, source, source_offsets, target, target_offsets):
        with self._lock:
            self._add_pairs(source, source_offsets, target, target_offsets)

    def expect(self, source, source_offsets, target, target_offsets):
        with self._lock:
            return self._expect(source, source_offsets, target, target_offsets)

    def maximise(self):
        with self._lock:
            self._maximise()

    def table(self, threshold=0.0):
        with self._lock:
            return self._table(threshold)

    cdef _add_pairs(self, source, source_offsets, target, target_offsets):
        sentences = self._checked(source, source_offsets, target, target_offsets)
        cdef const int32_t[::1] s = sentences[0]
        cdef const int64_t[::1] s_at = sentences[1]
        cdef const int32_t[::1] t = sentences[2]
        cdef const int64_t[::1] t_at = sentences[3]
        cdef Py_ssize_t n
        # The table starts from nothing again, since a new pair changes every estimate.
        self._probabilities = None
        self._counts = None
        with nogil:
            for n in range(s_at.shape[0] - 1):
                self._add_sentence(s[s_at[n]:s_at[n + 1]], t[t_at[n]:t_at[n + 1]])

    cdef _expect(self, source, source_offsets, target, target_offsets):
        sentences = self._checked(source, source_offsets, target, target_offsets)
        cdef const int32_t[::1] s = sentences[0]
        cdef const int64_t[::1] s_at = sentences[1]
        cdef const int32_t[::1] t = sentences[2]
        cdef const int64_t[::1] t_at = sentences[3]
        cdef Py_ssize_t n
        cdef double likelihood = 0.0
        if self._probabilities is None:
            # Any constant gives the same counts; this one makes a distribution.
            self._probabilities = np.full(self._keys.shape[0], 1.0 / self._target_size)
        if self._counts is None:
            self._counts = np.zeros(self._keys.shape[0])
        longest = int(np.diff(sentences[1]).max(initial=0))
        cdef int64_t[::1] slots = np.empty(longest + 1, np.int64)
        with nogil:
            for n in range(s_at.shape[0] - 1):
                likelihood += self._expect_sentence(
                    s[s_at[n]:s_at[n + 1]], t[t_at[n]:t_at[n + 1]], slots)
                if isnan(likelihood):
                    break
        if isnan(likelihood):
            self._counts = None
            raise ValueError(
                "a target token has no probability: add_pairs and expect should see all sentences")
        return likelihood

    cdef _maximise(self):
        if self._counts is None:
            raise ValueError("nothing was counted: expect first")
        cdef double[::1] totals = np.zeros(self._source_size + 1)
        cdef Py_ssize_t slot
        cdef uint64_t key
        with nogil:
            for slot in range(self._keys.shape[0]):
                key = self._keys[slot]
                if key != EMPTY:
                    totals[key >> 32] += self._counts[slot]
            for slot in range(self._keys.shape[0]):
                key = self._keys[slot]
                # A count of nothing stays nothing: its word may have no count at all.
                if key != EMPTY and self._counts[slot] > 0.0:
                    self._probabilities[slot] = self._counts[slot] / totals[key >> 32]
                else:
                    self._probabilities[slot] = 0.0
        self._counts = None

    cdef _table(self, threshold):
        if self._probabilities is None:
            raise ValueError("nothing was estimated: expect and maximise first")
        keys, probabilities = np.asarray(self._keys), np.asarray(self._probabilities)
        kept = (keys != EMPTY) & (probabilities > 0.0) & (probabilities >= threshold)
        keys, probabilities = keys[kept], probabilities[kept]
        sources = (keys >> np.uint64(32)).astype(np.int32)
        targets = (keys & np.uint64(0xFFFFFFFF)).astype(np.int32)
        order = np.lexsort((targets, -probabilities, sources))
        # The NULL word is no token: it has the last number, and its row is left out.
        order = order[:np.searchsorted(sources[order], self._source_size)]
        return sources[order], targets[order], probabilities[order]

    @cython.wraparound(True)
    def _checked(self, source, source_offsets, target, target_offsets):
        """The arrays, after making sure that no index leads out of them or out of the table."""
        arrays = []
        for side, ids, offsets, size in (
            ("source", source, source_offsets, self._source_size),
            ("target", target, target_offsets, self._target_size),
        ):
            ids, offsets = np.asarray(ids), np.ascontiguousarray(offsets, np.int64)
            if ids.ndim != 1 or offsets.ndim != 1 or offsets.size == 0:
                raise ValueError(f"{side}: expected ids [tokens] and offsets [sentences + 1]")
            if offsets[0] != 0 or offsets[-1] != ids.size or (np.diff(offsets) < 0).any():
                raise ValueError(f"{side}: offsets should rise from 0 to {ids.size}")
            if ids.size and not 0 <= ids.min() <= ids.max() < size:
                raise ValueError(f"{side}: ids should be from 0 to {size - 1}")
            arrays += [np.ascontiguousarray(ids, np.int32), offsets]
        if arrays[1].size != arrays[3].size:
            raise ValueError("there should be as many target sentences as source sentences")
        return arrays

    cdef _start(self):
        self._size = 0
        self._probabilities = None
        self._counts = None
        self._allocate(FIRST_CAPACITY)

    cdef _allocate(self, Py_ssize_t capacity):
        self._keys = np.full(capacity, EMPTY, np.uint64)
        self._shift = 64
        while capacity > 1:
            capacity >>= 1
            self._shift -= 1

    cdef _grow(self):
        cdef uint64_t[::1] old = self._keys
        cdef Py_ssize_t slot
        self._allocate(2 * old.shape[0])
        for slot in range(old.shape[0]):
            if old[slot] != EMPTY:
                self._keys[self._find(old[slot])] = old[slot]

    cdef Py_ssize_t _find(self, uint64_t key) noexcept nogil:
        """The slot of a key, or the empty one where it would stand."""
        cdef Py_ssize_t mask = self._keys.shape[0] - 1
        cdef Py_ssize_t slot = <Py_ssize_t>((key * GOLDEN) >> self._shift)
        while self._keys[slot] != key and self._keys[slot] != EMPTY:
            slot = (slot + 1) & mask
        return slot

    cdef void _add(self, uint64_t source, uint64_t target) noexcept nogil:
        cdef uint64_t key = (source << 32) | target
        cdef Py_ssize_t slot = self._find(key)
        if self._keys[slot] == EMPTY:
            self._keys[slot] = key
            self._size += 1

    cdef int _add_sentence(
        self, const int32_t[:] source, const int32_t[:] target
    ) except -1 nogil:
        cdef Py_ssize_t i, j
        for j in range(target.shape[0]):
            if 2 * (self._size + source.shape[0] + 1) > self._keys.shape[0]:
                with gil:
                    while 2 * (self._size + source.shape[0] + 1) > self._keys.shape[0]:
                        self._grow()
            if self._null >= 0:
                self._add(<uint64_t>self._null, <uint64_t>target[j])
            for i in range(source.shape[0]):
                self._add(<uint64_t>source[i], <uint64_t>target[j])
        return 0

    cdef double _expect_sentence(
        self, const int32_t[:] source, const int32_t[:] target, int64_t[::1] slots
    ) noexcept nogil:
        """Counts one sentence pair; gives its log-likelihood, or NaN where a probability lacks."""
        cdef Py_ssize_t i, j, width
        cdef double total, likelihood = 0.0
        for j in range(target.shape[0]):
            total = 0.0
            width = 0
            if self._null >= 0:
                slots[0] = self._find((<uint64_t>self._null << 32) | <uint64_t>target[j])
                width = 1
            for i in range(source.shape[0]):
                slots[width] = self._find((<uint64_t>source[i] << 32) | <uint64_t>target[j])
                width += 1
            for i in range(width):
                if self._keys[slots[i]] == EMPTY:
                    return NAN
                total += self._probabilities[slots[i]]
            # A source without words says nothing of its target.
            if width == 0:
                continue
            if not total > 0.0:
                return NAN
            for i in range(width):
                self._counts[slots[i]] += self._probabilities[slots[i]] / total
            likelihood += log(total / width)
        return likelihood
