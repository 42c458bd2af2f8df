"""The engine among threads, signals, forks and bad input."""

from __future__ import annotations

import gc
import os
import signal
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from pytransformer import _native, native
from pytransformer.model_spec import Checkpoint, PositionSpec
from random_models import (
    LIVELY,
    lively_checkpoint,
    make_engine,
    model_spec,
    random_checkpoint,
    run_search,
    search_options,
    sentences,
    stack,
)

START = 60
SOURCES = sentences(24, 61, 1, 60)

# What the scripts below, each a process of its own, begin with.
PREPARED = """
import os, signal, threading
from random_models import lively_checkpoint, make_engine, run_search, search_options, sentences
engine = make_engine(lively_checkpoint(), {inter_threads}, {intra_threads})
sources = sentences(24, 61, 1, 60)
options = search_options(60, beam_size=4)
def translate():
    return run_search(engine, sources, options)
"""


def run_script(
    code: str, inter_threads: int = 1, intra_threads: int = 1, **environment: str
) -> subprocess.CompletedProcess[str]:
    """Runs code behind the common beginning. The limit of time only ends a run that hangs."""
    prepared = PREPARED.format(inter_threads=inter_threads, intra_threads=intra_threads)
    return subprocess.run(
        [sys.executable, "-c", prepared + code],
        cwd=Path(__file__).parent,
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )


@pytest.fixture(scope="module")
def engine() -> _native.Engine:
    return make_engine(lively_checkpoint(), 1, 2)


def test_no_sentences(engine: _native.Engine) -> None:
    assert run_search(engine, [], search_options(START)) == []


@pytest.mark.parametrize("inter_threads", [1, 2])
def test_several_threads_translate_at_once(inter_threads: int) -> None:
    engine = make_engine(lively_checkpoint(), inter_threads, 1)
    jobs = [
        (SOURCES[i % 5 :: 1 + i % 3], search_options(START, beam_size=1 + 3 * (i % 2)))
        for i in range(24)
    ]
    serial = [run_search(engine, sources, options) for sources, options in jobs]
    with ThreadPoolExecutor(8) as pool:
        assert list(pool.map(lambda job: run_search(engine, *job), jobs)) == serial


def test_other_python_threads_run_meanwhile() -> None:
    """A thread counts while the main one translates: the interpreter's lock is free."""
    result = run_script("""
long_job, counted, stop = sources * 20, [0], threading.Event()
def count():
    while not stop.is_set():
        counted[0] += 1
        stop.wait(0.001)
counter = threading.Thread(target=count)
counter.start()
before = counted[0]
run_search(engine, long_job, options)
print(counted[0] - before)
stop.set()
counter.join()
""")
    assert result.returncode == 0, result.stderr
    assert int(result.stdout) >= 5


# Long enough to be still running when the signal comes from another thread of the same process.
INTERRUPT = """
threading.Timer(1.0, os.kill, (os.getpid(), signal.SIGINT)).start()
"""


@pytest.mark.parametrize("inter_threads", [1, 2])
def test_control_c_ends_a_translation(inter_threads: int) -> None:
    result = run_script(
        f"expected = translate()\n{INTERRUPT}"
        """
try:
    run_search(engine, sources * 5000, search_options(60, beam_size=16))
    print("finished")
except KeyboardInterrupt:
    print("interrupted")
print(translate() == expected)
""",
        inter_threads,
    )
    assert result.returncode == 0, result.stderr
    assert result.stdout.split() == ["interrupted", "True"]


def test_control_c_ends_the_process() -> None:
    result = run_script(f"{INTERRUPT}run_search(engine, sources * 5000, options)\n")
    assert result.returncode == -signal.SIGINT
    assert result.stderr.rstrip().endswith("KeyboardInterrupt")


@pytest.mark.parametrize("intra_threads", [1, 2])
def test_children_of_a_process_that_has_translated(intra_threads: int) -> None:
    """A child, its child, and the parent afterwards."""
    result = run_script(
        """
expected = translate()
def child_of(work):
    child = os.fork()
    if child == 0:
        os._exit(0 if work() else 1)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
print(child_of(lambda: translate() == expected))
print(child_of(lambda: translate() == expected and child_of(lambda: translate() == expected)))
print(translate() == expected)
""",
        1,
        intra_threads,
    )
    assert result.returncode == 0, result.stderr
    assert result.stdout.split() == ["True"] * 3


def test_pool_of_forked_processes() -> None:
    result = run_script("""
import multiprocessing
expected = translate()
with multiprocessing.get_context("fork").Pool(2) as pool:
    results = pool.starmap(translate, [()] * 6)
print(all(result == expected for result in results))
""")
    assert result.returncode == 0, result.stderr
    assert result.stdout.split() == ["True"]


def test_fork_while_another_thread_translates() -> None:
    """The child ends in the usual way, too: the engine's threads are the parent's."""
    result = run_script("""
import sys
expected = translate()
long_job = sources * 50
other = threading.Thread(target=run_search, args=(engine, long_job, options))
other.start()
child = os.fork()
if child == 0:
    same = translate() == expected
    del engine
    os._exit(0 if same else 1)
status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
other.join()
print(status, translate() == expected)
""")
    assert result.returncode == 0, result.stderr
    assert result.stdout.split() == ["0", "True"]


def test_exit_while_another_thread_translates() -> None:
    """Python ends a thread that waits in C++; the process must not die of it."""
    result = run_script("""
def work():
    while True:
        translate()
threading.Thread(target=work, daemon=True).start()
translate()
print("done")
""")
    assert result.returncode == 0, result.stderr
    assert result.stdout.split() == ["done"]


def test_fewer_threads_than_asked_for() -> None:
    """OpenMP may grant fewer; the result is the same."""
    script = "print(translate())"
    expected = run_script(script, 1, 2)
    limited = run_script(script, 1, 2, OMP_THREAD_LIMIT="1")
    assert expected.returncode == limited.returncode == 0, limited.stderr
    assert limited.stdout == expected.stdout


def test_no_threads_to_be_had() -> None:
    """An error, no hang; and the engine works as soon as there are threads again."""
    result = run_script("""
import resource
from pathlib import Path
used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
limit = resource.getrlimit(resource.RLIMIT_AS)
resource.setrlimit(resource.RLIMIT_AS, (used + (1 << 20), limit[1]))
for _ in range(2):
    try:
        translate()
    except (OSError, MemoryError) as error:
        print(type(error).__name__)
resource.setrlimit(resource.RLIMIT_AS, limit)
print(len(translate()))
""")
    assert result.returncode == 0, result.stderr
    first, second, translated = result.stdout.split()
    assert first == second
    assert translated == "24"


def test_deleted_engines_leave_no_threads() -> None:
    checkpoint = lively_checkpoint()
    before = len(os.listdir("/proc/self/task"))
    for i in range(8):
        engine = make_engine(checkpoint, 1 + i % 2, 1 + i // 4)
        if i % 3:  # one that has never worked has no threads
            run_search(engine, SOURCES[:3], search_options(START))
        del engine
        gc.collect()
    assert len(os.listdir("/proc/self/task")) <= before + 3


def test_model_outlives_its_engine_and_its_image() -> None:
    checkpoint = lively_checkpoint()
    image = native.build_image(checkpoint)
    model = _native.Model.from_buffer(image, "kept")
    del image
    expected = run_search(_native.Engine(model, 1, 1), SOURCES, search_options(START))
    gc.collect()
    assert run_search(_native.Engine(model, 1, 1), SOURCES, search_options(START)) == expected


def test_sentence_longer_than_the_positions(engine: _native.Engine) -> None:
    sources = [*SOURCES[:3], [1] * 71, *SOURCES[3:]]
    with pytest.raises(ValueError, match=r"source 3 has 71 tokens.*70"):
        run_search(engine, sources, search_options(START))
    assert run_search(engine, [[1] * 70], search_options(START))


def test_models_without_positions_have_no_limit() -> None:
    endless = stack(positions=PositionSpec("none", 1))
    engine = make_engine(random_checkpoint(model_spec(encoder=endless, decoder=endless)))
    options = search_options(START, max_decoding_length=100, min_decoding_length=100)
    assert len(run_search(engine, [[1] * 200], options)[0][0][0]) == 100


@pytest.mark.parametrize("source", [[], [61], [-1], [2**31 - 1]])
def test_impossible_sources(engine: _native.Engine, source: list[int]) -> None:
    with pytest.raises(ValueError, match="source 1 "):
        run_search(engine, [[1], source], search_options(START))
    for method in (engine.encode, lambda ids: engine.logits(ids, [START])):
        with pytest.raises(ValueError, match="source "):
            method(source)
    with pytest.raises(ValueError, match="target "):
        engine.logits([1], [START, *source] if source else source)


def test_all_wrong_options_are_listed(engine: _native.Engine) -> None:
    wrong = {
        "beam_size": 0,
        "num_hypotheses": 0,
        "patience": -1.0,
        "length_penalty": float("nan"),
        "coverage_penalty": -1.0,
        "repetition_penalty": 0.0,
        "no_repeat_ngram_size": -1,
        "num_beam_groups": 0,
        "diversity_penalty": -1.0,
        "max_decoding_length": 70,
        "min_decoding_length": -1,
        "max_length_factor": -1.0,
        "prefix_bias_beta": 1.0,
        "min_alternative_expansion_prob": 1.5,
        "sampling_topk": -1,
        "sampling_topp": 0.0,
        "sampling_temperature": 0.0,
        "attention_layer": 2,
        "attention_heads": [3],
        "decoder_start_token_id": 61,
        "end_token_ids": [61],
        "forced_bos_token_id": 61,
        "forced_end_token_id": -2,
        "suppress_token_ids": [-1],
        "suppress_sequences": [[]],
        "max_batch_size": 0,
    }
    with pytest.raises(ValueError, match="beam_size = 0") as caught:
        run_search(engine, SOURCES, search_options(START, **wrong))
    missing = [name for name in wrong if name not in str(caught.value)]
    assert not missing
    with pytest.raises(ValueError, match="early_stopping"):
        search_options(START, early_stopping=3)
    with pytest.raises(AttributeError, match="beam_width"):
        search_options(START, beam_width=3)
    assert run_search(engine, SOURCES[:1], search_options(START))


@pytest.mark.parametrize(
    ("inter_threads", "intra_threads", "isa"), [(0, 1, ""), (1, 0, ""), (-1, 1, ""), (1, 1, "sse")]
)
def test_impossible_engines(inter_threads: int, intra_threads: int, isa: str) -> None:
    with pytest.raises(ValueError, match=r"threads|sse"):
        make_engine(lively_checkpoint(), inter_threads, intra_threads, isa)


def poisoned(checkpoint: Checkpoint, name: str, value: float) -> _native.Engine:
    """An engine over weights one of which, in the tensor `name`, is `value`."""
    checkpoint.tensors[name].reshape(-1)[5] = value
    return make_engine(checkpoint)


@pytest.mark.parametrize("value", [np.nan, np.inf])
@pytest.mark.parametrize("name", sorted(lively_checkpoint().tensors))
def test_weights_that_are_no_numbers(name: str, value: float) -> None:
    """A native file may be damaged; what it gives must not look like a translation."""
    healthy = run_search(make_engine(lively_checkpoint()), SOURCES, search_options(START))
    assert_finds_no_number(poisoned(lively_checkpoint(), name, value))
    assert healthy


def own_tensors() -> list[tuple[str, str]]:
    """What other kinds of models than the plain one have beyond it, in their first layers."""
    plain = lively_checkpoint().tensors
    return [
        (kind, name)
        for kind in list(LIVELY)[1:]
        for name in lively_checkpoint(kind=kind).tensors
        if name not in plain and ".layers.1." not in name
    ]


@pytest.mark.parametrize(("kind", "name"), own_tensors())
def test_weights_of_all_kinds_that_are_no_numbers(kind: str, name: str) -> None:
    """A gate may make a number of infinity, but not of what is none."""
    assert_finds_no_number(poisoned(lively_checkpoint(kind=kind), name, np.nan))


def assert_finds_no_number(engine: _native.Engine) -> None:
    for options in (
        search_options(START, beam_size=4),
        search_options(START),
        search_options(START, return_scores=False),
    ):
        with pytest.raises(ValueError, match="finite"):
            run_search(engine, SOURCES, options)


def test_memory_of_long_searches() -> None:
    """Slots of dropped beams are used again, and what a search held is freed with it."""
    result = run_script("""
from pytransformer.model_spec import PositionSpec
from random_models import model_spec, random_checkpoint, stack
wide = stack(d_model=32, num_heads=32, head_dim=16, positions=PositionSpec("learned", 512))
engine = make_engine(random_checkpoint(model_spec(encoder=wide, decoder=wide)))
options = search_options(60, beam_size=8, max_decoding_length=200, min_decoding_length=200)
def kilobytes(field):
    return int(open("/proc/self/status").read().split(field)[1].split()[0])
run_search(engine, sources[:1], search_options(60))
before = kilobytes("VmRSS:")
run_search(engine, sources[:12], options)
peak = kilobytes("VmHWM:") - before
warm = kilobytes("VmRSS:")
for _ in range(2):
    run_search(engine, sources[:12], options)
print(peak >> 10, kilobytes("VmRSS:") - warm >> 10)
""")
    assert result.returncode == 0, result.stderr
    peak_mib, growth_mib = map(int, result.stdout.split())
    # The caches hold 20 MiB where all beams share their past, 160 MiB where none do.
    assert peak_mib < 100
    assert growth_mib < 32
