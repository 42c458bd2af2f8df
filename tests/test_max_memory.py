"""`max_memory`: it holds, changes no result, and what can never fit is refused."""

from __future__ import annotations

import os
import pickle
import random
import re
import shutil
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from checkpoints import MarianCheckpoint
from memory_cases import needed
from pytransformer import (
    MemoryLimitError,
    OptionError,
    PytransformerError,
    Translator,
    _native,
    native,
)
from random_models import END, lively_checkpoint, run_search, search_options, sentences

TESTS = Path(__file__).parent
START = 60
SOURCES = sentences(40, 61, 1, 60)
BEAMS = search_options(START, beam_size=4)


@pytest.fixture(scope="module")
def model() -> _native.Model:
    return _native.Model.from_buffer(native.build_image(lively_checkpoint()), "test")


def most_needed(
    model: _native.Model, inter_threads: int = 1, options: _native.SearchOptions = BEAMS
) -> int:
    """What the sentence that needs most may need alone."""
    engine = _native.Engine(model, inter_threads, 1, max_memory=1)
    longest = max(SOURCES, key=len)
    return needed(lambda: engine.submit([_native.Request(longest)], options))[0]


@pytest.fixture(scope="module")
def heap_counter(tmp_path_factory: pytest.TempPathFactory) -> Path:
    if shutil.which("cc") is None:
        pytest.skip("no C compiler, by which a counter of allocations would be made")
    if os.confstr("CS_GNU_LIBC_VERSION") is None:
        pytest.skip("counts what glibc allocates")
    if "LD_PRELOAD" in os.environ:
        pytest.skip("something else is loaded before the C library")
    path = tmp_path_factory.mktemp("heap") / "heap_peak.so"
    subprocess.run(["cc", "-O2", "-shared", "-fPIC", "-o", path, TESTS / "heap_peak.c"], check=True)
    return path


@pytest.mark.parametrize("seed", range(2))
def test_no_more_is_ever_allocated(heap_counter: Path, tmp_path: Path, seed: int) -> None:
    """Whatever is asked of whatever model."""
    path = os.pathsep.join([str(TESTS), os.environ.get("PYTHONPATH", "")])
    result = subprocess.run(
        [sys.executable, TESTS / "memory_cases.py", str(seed), "60"],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": path, "LD_PRELOAD": str(heap_counter)},
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
    )
    assert result.returncode == 0, result.stderr
    assert result.stdout == ""


@pytest.mark.parametrize("inter_threads", [1, 2, 3])
@pytest.mark.parametrize("times", [1.0, 1.7, 6.0])
@pytest.mark.parametrize("max_batch_size", [64, 3])
def test_results_are_the_same(
    model: _native.Model, inter_threads: int, times: float, max_batch_size: int
) -> None:
    options = search_options(START, beam_size=4, max_batch_size=max_batch_size)
    expected = run_search(_native.Engine(model, 1, 1), SOURCES, options)
    limit = int(most_needed(model, inter_threads) * times)
    engine = _native.Engine(model, inter_threads, 1, max_memory=limit)
    for _ in range(3):
        assert run_search(engine, SOURCES, options) == expected


def test_just_enough(model: _native.Model) -> None:
    most = most_needed(model)
    engine = _native.Engine(model, 1, 1, max_memory=most)
    assert run_search(engine, SOURCES, BEAMS)
    engine = _native.Engine(model, 1, 1, max_memory=most - 1)
    with pytest.raises(MemoryLimitError, match=f"{most} bytes"):
        run_search(engine, SOURCES, BEAMS)


def test_what_is_refused(model: _native.Model) -> None:
    """The first such sentence is named; nothing of the call is begun, and others go on."""
    limit = most_needed(model, options=search_options(START))
    engine = _native.Engine(model, 1, 1, max_memory=limit)
    assert engine.max_memory == limit
    longest = max(range(len(SOURCES)), key=lambda i: len(SOURCES[i]))
    wide = search_options(START, beam_size=16, return_logits=True)
    with pytest.raises(MemoryLimitError) as raised:
        run_search(engine, [[5, END]] * 2 + SOURCES[longest : longest + 1], wide)
    assert isinstance(raised.value, MemoryError)
    assert isinstance(raised.value, PytransformerError)
    text = str(raised.value)
    for part in ("source 0 of 2 tokens", str(limit), "max_decoding_length (40)", "(16)", "logits"):
        assert part in text
    assert run_search(engine, SOURCES, search_options(START))
    with pytest.raises(MemoryLimitError, match="may need"):
        _native.Engine(model, 1, 1, max_memory=1000).logits(SOURCES[0], SOURCES[1])


def test_every_need_grows_with_what_is_asked_for(model: _native.Model) -> None:
    engine = _native.Engine(model, 1, 1, max_memory=1)

    def need(length: int = 10, **changes: object) -> int:
        request = _native.Request([5] * (length - 1) + [END])
        options = search_options(START, **changes)
        return needed(lambda: engine.submit([request], options))[0]

    least = need()
    assert need(length=60) > least
    assert need(max_decoding_length=60) > least
    assert need(beam_size=4) > need(beam_size=2) > least
    assert need(num_hypotheses=4) > least
    assert need(return_logits=True) > least
    assert need(return_attention=True) > least
    # Sizes beyond 64 bits do not wrap around.
    vast = {"beam_size": 4096, "num_hypotheses": 4096, "return_alternatives": True}
    assert need(**vast, return_logits=True, return_attention=True) > 2**40


@pytest.mark.parametrize("inter_threads", [1, 3])
def test_many_calls_at_once(model: _native.Model, inter_threads: int) -> None:
    """Of all kinds, some of them cancelled; nobody waits for ever, and all is given back."""
    rng = random.Random(0)
    free = _native.Engine(model, 1, 1)
    kinds = [search_options(START), BEAMS, search_options(START, encode=True)]
    limit = int(most_needed(model, inter_threads, search_options(START, beam_size=8)) * 1.2)
    engine = _native.Engine(model, inter_threads, 1, max_memory=limit)
    logits = free.logits(SOURCES[0], SOURCES[1]).tobytes()
    expected = run_search(free, SOURCES[:10], BEAMS)

    def call(turn: int) -> bool:
        if turn % 5 == 0:
            return engine.logits(SOURCES[0], SOURCES[1]).tobytes() == logits
        if turn % 5 == 1:
            job = engine.submit([_native.Request(one) for one in SOURCES], rng.choice(kinds))
            job.cancel()
            return True
        if turn % 5 == 2:
            engine.submit([_native.Request(one) for one in SOURCES], rng.choice(kinds)).result()
            return True
        return run_search(engine, SOURCES[:10], BEAMS) == expected

    with ThreadPoolExecutor(8) as pool:
        assert all(pool.map(call, range(60)))
    # With all of it free again, the largest that can fit still does.
    run_search(engine, [max(SOURCES, key=len)], search_options(START, beam_size=8))


def test_engine_that_is_closed_while_sentences_wait(model: _native.Model) -> None:
    engine = _native.Engine(model, 2, 1, max_memory=most_needed(model, 2))
    job = engine.submit([_native.Request(source) for source in SOURCES * 50], BEAMS)
    time.sleep(0.05)
    del engine
    with pytest.raises(RuntimeError, match="closed"):
        job.result()


def test_workers_leave_each_other_their_share(model: _native.Model) -> None:
    """Two threads of the engine compute, though one of them could take all the memory."""
    before = set(os.listdir("/proc/self/task"))
    engine = _native.Engine(model, 2, 1, max_memory=int(most_needed(model, 2) * 4))
    run_search(engine, SOURCES * 10, BEAMS)
    used = []
    for task in set(os.listdir("/proc/self/task")) - before:
        fields = Path(f"/proc/self/task/{task}/stat").read_text().rpartition(")")[2].split()
        used.append(int(fields[11]) + int(fields[12]))
    assert len(used) == 2
    assert min(used) >= 0.2 * max(used)


def test_no_limit_and_limits_that_are_none(model: _native.Model) -> None:
    assert _native.Engine(model, 1, 1).max_memory == 0
    with pytest.raises(ValueError, match="max_memory"):
        _native.Engine(model, 1, 1, max_memory=-1)
    endless = _native.Engine(model, 1, 1, max_memory=2**63 - 1)
    assert run_search(endless, SOURCES, BEAMS) == run_search(
        _native.Engine(model, 1, 1), SOURCES, BEAMS
    )


class TestPython:
    def test_translator(self, marian: MarianCheckpoint) -> None:
        text = "Ein Kind spielt mit dem Ball.\nZwei Leute.\n" * 20
        expected = Translator(marian.path).translate(text, beam_size=2)
        translator = Translator(marian.path, max_memory=1)
        with pytest.raises(MemoryLimitError) as raised:
            translator.translate(text, beam_size=2)
        found = re.search(r"need (\d+) bytes", str(raised.value))
        assert found is not None
        limited = Translator(marian.path, max_memory=2 * int(found[1]))
        assert limited.max_memory == 2 * int(found[1])
        assert limited.translate(text, beam_size=2) == expected
        assert pickle.loads(pickle.dumps(limited)).max_memory == limited.max_memory

    def test_asynchronous_calls_and_streams(self, marian: MarianCheckpoint) -> None:
        threads = threading.active_count()
        translator = Translator(marian.path, max_memory=1)
        with pytest.raises(MemoryLimitError):
            translator.translate_async("Zwei Leute.")
        with pytest.raises(MemoryLimitError):
            list(translator.translate_stream("Zwei Leute."))
        with pytest.raises(MemoryLimitError):
            translator.score_batch([[5, 6, END]], [[7, 8]])
        with pytest.raises(MemoryLimitError):
            translator.encode([5, 6, END])
        assert threading.active_count() == threads

    @pytest.mark.parametrize("wrong", [-1, 1.5, True, "1 GB", 2**60])
    def test_wrong_values(self, marian: MarianCheckpoint, wrong: object) -> None:
        with pytest.raises(OptionError, match="max_memory is"):
            Translator(marian.path, max_memory=wrong)  # type: ignore[arg-type]

    def test_weights_in_memory(self, marian: MarianCheckpoint, tmp_path: Path) -> None:
        converted = Translator(marian.path)
        assert converted.weights_in_memory > 0
        path = tmp_path / "model.safetensors"
        from pytransformer import loaders

        native.write(loaders.load(marian.path), path, "int8")
        mapped = Translator(path)
        assert mapped.weights_in_memory == 0
        assert Translator(path, compute_type="bfloat16").weights_in_memory > 0

    def test_command(self, marian: MarianCheckpoint, tmp_path: Path) -> None:
        command = [sys.executable, "-m", "pytransformer", "translate", "--model", str(marian.path)]
        result = subprocess.run(
            [*command, "--max-memory", "1000", "Zwei Leute."],
            cwd=tmp_path,
            capture_output=True,
            text=True,
            check=False,
        )
        assert result.returncode != 0
        assert "max_memory is 1000" in result.stderr
        assert "Traceback" not in result.stderr
