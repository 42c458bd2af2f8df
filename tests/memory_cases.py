"""Random work of engines whose memory is counted while they run; a program for test_max_memory.

    LD_PRELOAD=heap_peak.so python memory_cases.py SEED COUNT

Prints a line for each case in which more was allocated than `max_memory` allows.
"""

from __future__ import annotations

import ctypes
import random
import re
import sys
import time
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from pytransformer import MemoryLimitError, _native, native
from pytransformer.model_spec import Checkpoint, HeadSpec, PositionSpec
from random_models import (
    LIVELY,
    decoder_spec,
    encoder_spec,
    model_spec,
    random_checkpoint,
    search_options,
    sentences,
    stack,
)

VOCABULARY = 3000
TYPES = ("float32", "int8")
SIZES: dict[str, Any] = {
    "d_model": 144,
    "num_heads": 3,
    "head_dim": 48,
    "d_ff": 500,
    "vocab_size": VOCABULARY,
    "embedding_scale": 12.0,
    "attention_scale": 1.0,
    "positions": PositionSpec("learned", 200),
}
# What a worker's thread and its OpenMP team allocate, for which the limit reserves more.
THREAD = 16 << 10

Need = tuple[int, int]


class Work(NamedTuple):
    """A job, and how many bytes of vectors it reads, which are the caller's."""

    requests: list[_native.Request]
    options: _native.SearchOptions
    given: int = 0


class Heap:
    """The counts of heap_peak.c."""

    def __init__(self) -> None:
        library = ctypes.CDLL(None)
        self.begin, self.peak, self.live = (
            getattr(library, f"heap_{name}") for name in ("begin", "peak", "live")
        )
        for function in (self.begin, self.peak, self.live):
            function.restype = ctypes.c_long


class Subject(NamedTuple):
    """A model, and what is asked of it."""

    name: str
    model: _native.Model
    work: Callable[[random.Random], Work]


def needed(call: Callable[[], object]) -> Need:
    """What an error says that a call may need, and how much of it is for threads and tables."""
    try:
        call()
    except MemoryLimitError as error:
        found = re.search(r"need (\d+) bytes, of which (\d+)", str(error))
        assert found is not None
        return int(found[1]), int(found[2])
    raise AssertionError("it fits")


def checkpoints() -> list[tuple[str, Checkpoint]]:
    found = []
    for name, kind in LIVELY.items():
        encoder = stack(**SIZES, **kind.both)
        decoder = stack(**SIZES, **kind.both, **kind.decoder)
        model = model_spec(encoder=encoder, decoder=decoder)
        found.append((name, random_checkpoint(model, end_bias=kind.end_bias)))
    alone = random_checkpoint(decoder_spec(stack(**SIZES)), end_bias=3.0)
    head = HeadSpec(200, "tanh", ("a", "b"), "softmax")
    reads = random_checkpoint(encoder_spec(stack(**SIZES), head))
    vectors = random_checkpoint(encoder_spec(stack(**SIZES, vector_size=300)))
    return [*found, ("decoder", alone), ("encoder", reads), ("vectors only", vectors)]


def subjects() -> list[Subject]:
    found = []
    for name, checkpoint in checkpoints():
        work = {"encoder": encoding, "vectors only": encoding_of_vectors, "decoder": prompts}
        for compute_type in TYPES:
            model = _native.Model.from_buffer(native.build_image(checkpoint, compute_type), name)
            found.append(Subject(f"{name} {compute_type}", model, work.get(name, translating)))
    return found


def count_of(rng: random.Random) -> int:
    return rng.choice([1, 1, 1, 5, 40])


def source_of(rng: random.Random) -> list[int]:
    return sentences(1, VOCABULARY, 1, rng.choice([3, 30, 80]), rng.getrandbits(30))[0]


def encoding(rng: random.Random) -> Work:
    options = search_options(0, encode=True)
    return Work([_native.Request(source_of(rng)) for _ in range(count_of(rng))], options)


def encoding_of_vectors(rng: random.Random) -> Work:
    shapes = [(rng.randint(1, 150), 300) for _ in range(count_of(rng))]
    vectors = [np.zeros(shape, np.float32) for shape in shapes]
    requests = [_native.Request.of_vectors(one) for one in vectors]
    return Work(requests, search_options(0, encode=True), sum(one.nbytes for one in vectors))


def translating(rng: random.Random) -> Work:
    if rng.random() < 0.1:
        return encoding(rng)
    if rng.random() < 0.1:
        return scoring(rng)
    changes = search_of(rng)
    for name, value, share in (("return_attention", True, 0.3), ("coverage_penalty", 0.3, 0.2)):
        if rng.random() < share:
            changes[name] = value
    options = search_options(VOCABULARY - 1, **changes)
    return Work([request(rng, options) for _ in range(count_of(rng))], options)


def prompts(rng: random.Random) -> Work:
    options = search_options(VOCABULARY - 1, **search_of(rng))
    return Work([request(rng, options) for _ in range(count_of(rng))], options)


def scoring(rng: random.Random) -> Work:
    options = search_options(VOCABULARY - 1, score_targets=True, max_decoding_length=150)
    pairs = [(source_of(rng), source_of(rng)) for _ in range(count_of(rng))]
    return Work([_native.Request(source, target=target) for source, target in pairs], options)


def search_of(rng: random.Random) -> dict[str, Any]:
    beams = rng.choice([2, 4, 8])
    kind: dict[str, Any] = rng.choice(
        [
            {},
            {"num_hypotheses": 3},
            {"beam_size": beams, "num_hypotheses": beams - 1},
            {"beam_size": beams, "patience": 3.0, "early_stopping": rng.choice([1, 2])},
            {"beam_size": beams, "beam_rule": 1},
            {"beam_size": beams, "beam_rule": 2, "length_penalty": rng.choice([0.0, 1.0])},
            {"beam_size": 6, "num_beam_groups": 3, "diversity_penalty": 0.5},
            {"return_alternatives": True, "beam_size": rng.choice([1, 3]), "num_hypotheses": 5},
            {"sampling_topk": rng.choice([0, 5, 1000]), "num_hypotheses": rng.randint(1, 4)},
        ]
    )
    kind["max_decoding_length"] = rng.choice([5, 20, 60, 150])
    for name, value, share in (
        ("return_logits", True, 0.2),
        ("repetition_penalty", 1.3, 0.2),
        ("no_repeat_ngram_size", 3, 0.2),
        ("suppress_token_ids", list(range(5, 900, 3)), 0.2),
        ("suppress_sequences", [[5, 6], [7]], 0.1),
        ("return_end_token", True, 0.1),
        ("stop_loops", True, 0.1),
        ("stream", True, 0.1),
    ):
        if rng.random() < share:
            kind[name] = value
    return kind


def request(rng: random.Random, options: _native.SearchOptions) -> _native.Request:
    values: dict[str, Any] = {"seed": rng.getrandbits(30)}
    room = options.max_decoding_length - 1
    if rng.random() < 0.2:
        values["target"] = source_of(rng)[: min(room, 30)]
    is_plain = options.num_beam_groups == 1 and not options.return_alternatives
    if rng.random() < 0.1 and options.beam_size > 1 and is_plain and room > 10:
        values["force_phrases"] = [[7, 8], [100, 101, 102]]
    if rng.random() < 0.2:
        allowed = rng.sample(range(VOCABULARY), rng.choice([50, 1000]))
        values["allowed"] = _native.TokenList(sorted(allowed))
    return _native.Request(source_of(rng), **values)


def check_job(heap: Heap, rng: random.Random, subject: Subject) -> str | None:
    """What was wrong, if anything was."""
    requests, options, given = subject.work(rng)
    inter_threads = rng.choice([1, 2]) if len(requests) > 1 else 1
    threads = (inter_threads, rng.choice([1, 1, 2]))
    tight = _native.Engine(subject.model, *threads, max_memory=1)
    needs = [needed(lambda one=one: tight.submit([one], options)) for one in requests]
    most, fixed = max(needs)
    # What a single sentence gives is the engine's until it is handed over. What is read is not.
    limit = most if len(requests) == 1 else int(most * rng.choice([1, 1, 1.5, 4]))
    engine = _native.Engine(subject.model, *threads, max_memory=limit)
    before = heap.begin()
    job = engine.submit(requests, options)
    while not job.done():
        time.sleep(0.0005)
    peak = heap.peak() - before
    time.sleep(0.01)
    callers = given if len(requests) == 1 else heap.live() - before
    try:
        job.result()
    except ValueError as error:
        if "no translation" not in str(error):
            raise
        return None
    allowed = limit - fixed + THREAD * threads[0] * threads[1] + callers
    if peak <= allowed:
        return None
    return f"{len(requests)} sentences, threads {threads}: took {peak}, allowed {allowed}"


def check_inspection(heap: Heap, rng: random.Random, subject: Subject) -> str | None:
    source, target = source_of(rng), source_of(rng)
    if subject.work is prompts:
        source = []
    for name in ("logits", "attention"):
        tight = _native.Engine(subject.model, 1, 1, max_memory=1)
        most, fixed = needed(lambda made=tight, name=name: getattr(made, name)(source, target))
        engine = _native.Engine(subject.model, 1, 1, max_memory=most)
        before = heap.begin()
        result = getattr(engine, name)(source, target)
        # A copy of the result is the caller's.
        copied = sum(one.nbytes for one in (result if isinstance(result, tuple) else (result,)))
        took = heap.peak() - before - copied
        if took > most - fixed + THREAD:
            return f"{name} took {took}, allowed {most - fixed}"
    return None


def main(seed: int, count: int) -> None:
    heap, rng, all_subjects = Heap(), random.Random(seed), subjects()
    for index in range(count):
        subject = rng.choice(all_subjects)
        inspects = subject.work in (translating, prompts) and rng.random() < 0.15
        problem = (check_inspection if inspects else check_job)(heap, rng, subject)
        if problem is not None:
            print(f"case {index}, {subject.name}: {problem}")


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]))
