"""The engine in somebody else's process: its threads, what it leaves alone, and forks."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from guest_process import STATE, run_script

# Most of the scripts look at /proc.
pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="looks at Linux's /proc")


class TestThreads:
    def test_none_before_the_first_translation(self, tmp_path: Path) -> None:
        code = """
translator = Translator(inter_threads=2, intra_threads=2)
converted = Translator(compute_type="float32")
translator.tokenizer.encode("Ein Hund.")
for wrong in ({"beam_size": 0}, {"max_decoding_length": 10**9}, {"no_such_option": 1}):
    try:
        translator.translate("Ein Hund.", **wrong)
        print("no error")
    except OptionError:
        pass
try:
    Translator(max_memory=1).translate("Ein Hund.")
    print("no error")
except MemoryLimitError:
    pass
repr(translator), translator.limits, translator.num_parameters
engine = make_engine(lively_checkpoint(), 2, 2)
engine.logits(SOURCES[0], SOURCES[1])
print(threads() == at_first)
translator.translate("Ein Hund.")
print(len(threads()) >= len(at_first) + 2)
"""
        assert run_script(code, tmp_path).split() == ["True", "True"]

    @pytest.mark.parametrize(("inter_threads", "intra_threads"), [(1, 1), (1, 2), (3, 4)])
    def test_gone_with_the_engine(
        self, tmp_path: Path, inter_threads: int, intra_threads: int
    ) -> None:
        """Those of OpenMP's teams too."""
        code = f"""
def use():
    engine = make_engine(lively_checkpoint(), {inter_threads}, {intra_threads})
    translate(engine)
    return len(threads())

for _ in range(6):
    most = use()
    if not wait_for(len(at_first)) or most <= len(at_first):
        print(most, threads() - at_first)
"""
        assert run_script(code, tmp_path) == ""

    def test_gone_with_an_engine_that_is_busy(self, tmp_path: Path) -> None:
        code = """
engine = make_engine(lively_checkpoint(), 2, 2)
job = engine.submit([_native.Request(source) for source in SOURCES * 500], OPTIONS)
while len(threads()) == len(at_first):
    time.sleep(0.001)
del engine
print(wait_for(len(at_first)))
try:
    job.result()
except RuntimeError as error:
    print(error)
"""
        assert run_script(code, tmp_path).splitlines() == ["True", "the engine was closed"]

    def test_small_stacks(self, tmp_path: Path) -> None:
        """128 KB are enough, where a C library gives no more."""
        code = """
size = ctypes.c_size_t(128 << 10)
attributes = ctypes.create_string_buffer(256)
C.pthread_attr_init(attributes)
assert C.pthread_attr_setstacksize(attributes, size) == 0
assert C.pthread_setattr_default_np(attributes) == 0
for kind in ("plain", "vectors", "rotary"):
    engine = make_engine(lively_checkpoint(kind=kind), 2, 2)
    for values in ({"beam_size": 16}, {"sampling_topk": 0}, {"return_logits": True}):
        run_search(engine, SOURCES, search_options(60, **values))
print("done")
"""
        assert run_script(code, tmp_path, OMP_STACKSIZE="128k").split() == ["done"]

    def test_no_thread_to_be_had(self, tmp_path: Path) -> None:
        """An error, and no harm for later."""
        code = """
attributes, usual = ctypes.create_string_buffer(256), ctypes.create_string_buffer(256)
C.pthread_getattr_default_np(usual)
C.pthread_attr_init(attributes)
C.pthread_attr_setstacksize(attributes, ctypes.c_size_t(1 << 46))
C.pthread_setattr_default_np(attributes)
engine = make_engine(lively_checkpoint(), 2, 1)
try:
    translate(engine)
except OSError as error:
    print(type(error).__name__)
C.pthread_setattr_default_np(usual)
print(translate(engine) == translate(make_engine(lively_checkpoint())))
"""
        assert run_script(code, tmp_path).split() == ["BlockingIOError", "True"]

    def test_fewer_threads_to_be_had(self, tmp_path: Path) -> None:
        """OpenMP's runtime would end the process."""
        code = """
import resource
expected = translate(make_engine(lively_checkpoint()))
kilobytes = int(status(["VmSize"])[0])
resource.setrlimit(resource.RLIMIT_AS, ((kilobytes << 10) + (150 << 20), -1))
engine = make_engine(lively_checkpoint(), 1, 40)
found, count = translate(engine), len(threads() - at_first)
print(found == expected, 1 <= count < 40)
"""
        assert run_script(STATE + code, tmp_path).split() == ["True", "True"]


def test_state_of_the_process_stays(tmp_path: Path) -> None:
    code = """
engine = make_engine(lively_checkpoint(), 2, 2)
before = state()
translator = Translator(inter_threads=2, intra_threads=2)
translator.translate("Ein Hund.")
translate(engine)
print(state() == before)
del translator, engine
gc.collect()
print(state() == before)
"""
    # The bundled model's file is mapped, and closed.
    assert run_script(STATE + code, tmp_path).split() == ["True", "True"]


def test_signals_come_to_the_process_own_threads(tmp_path: Path) -> None:
    """All but those that a thread brings upon itself, which end the process as ever."""
    code = """
engine = make_engine(lively_checkpoint(), 2, 2)
translate(engine)
ours = threads() - at_first
blocked = [int(status(["SigBlk"], one)[0], 16) for one in ours]
def all_have(number):
    return all(mask >> (number - 1) & 1 for mask in blocked)
asynchronous = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGALRM, signal.SIGUSR1,
                signal.SIGCHLD, signal.SIGPROF, signal.SIGRTMIN)
print(len(ours) == 4 and all(map(all_have, asynchronous)))
print(any(map(all_have, (signal.SIGSEGV, signal.SIGFPE, signal.SIGILL, signal.SIGBUS))))
"""
    assert run_script(STATE + code, tmp_path).split() == ["True", "False"]


def test_nothing_is_written(tmp_path: Path) -> None:
    """Whatever goes wrong: what was printed would be in the result."""
    code = """
import resource
def fails(kind, call):
    try:
        call()
        raise SystemExit(f"no {kind}")
    except kind:
        pass

engine = make_engine(lively_checkpoint(), 2, 2)
expected = translate(engine)
broken = lively_checkpoint()
broken.tensors["decoder.layers.0.feed_forward.up.weight"][:] = numpy.nan
fails(ValueError, lambda: translate(make_engine(broken, 2, 2)))
forbidden = search_options(60, suppress_token_ids=list(range(61)), forced_end_token_id=-1)
fails(ValueError, lambda: run_search(engine, SOURCES, forbidden))
fails(ValueError, lambda: run_search(engine, [[99]], OPTIONS))
fails(ValueError, lambda: _native.Model.from_buffer(b"", "nothing"))
fails(OSError, lambda: _native.Model.open("/no/such/file"))
job = engine.submit([_native.Request(source) for source in SOURCES * 100], OPTIONS)
job.cancel()

in_use = int(re.search(r"VmData:\\s+(\\d+)", open("/proc/self/status").read())[1]) * 1024
limits = resource.getrlimit(resource.RLIMIT_DATA)
resource.setrlimit(resource.RLIMIT_DATA, (in_use + (1 << 20), limits[1]))
wide = search_options(60, beam_size=512, num_hypotheses=512, return_logits=True)
fails(MemoryError, lambda: run_search(engine, SOURCES * 8, wide))
resource.setrlimit(resource.RLIMIT_DATA, limits)
assert translate(engine) == expected
"""
    assert run_script(code, tmp_path) == ""


class TestFork:
    """Children that end as processes do, with all that is done then."""

    @pytest.mark.parametrize("inter_threads", [1, 2])
    def test_while_another_thread_is_busy(self, tmp_path: Path, inter_threads: int) -> None:
        """It translates, and begins and ends engines."""
        code = f"""
engine = make_engine(lively_checkpoint(), {inter_threads}, 2)
expected = translate(engine)
engine.start_profile()
stop = threading.Event()
def go_on():
    while not stop.is_set():
        translate(engine)
        translate(make_engine(lively_checkpoint(), 1, 2))
other = threading.Thread(target=go_on)
other.start()
for _ in range(6):
    child = os.fork()
    if child == 0:
        fits = translate(engine) == expected and engine.read_profile()["steps"] > 0
        sys.exit(0 if fits else 1)
    print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
stop.set()
other.join()
print(translate(engine) == expected)
"""
        assert run_script(code, tmp_path).split() == ["0"] * 6 + ["True"]

    @pytest.mark.parametrize("inter_threads", [1, 2])
    def test_child_closes_what_its_parent_runs(self, tmp_path: Path, inter_threads: int) -> None:
        code = f"""
engine = make_engine(lively_checkpoint(), {inter_threads}, 2)
expected = translate(engine)
for translates in (False, True):
    jobs = [engine.submit([_native.Request(source) for source in SOURCES], OPTIONS)
            for _ in range(20)]
    child = os.fork()
    if child == 0:
        fits = not translates or translate(engine) == expected
        del jobs, engine
        gc.collect()
        sys.exit(0 if fits and wait_for(1) else 1)
    print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
    print([len(job.result()) for job in jobs] == [len(SOURCES)] * 20)
"""
        assert run_script(code, tmp_path).split() == ["0", "True"] * 2

    def test_child_drops_what_its_parent_awaits(self, tmp_path: Path) -> None:
        """A thread of the parent waits for the job, which the child destroys."""
        code = """
engine = make_engine(lively_checkpoint(), 2, 1)
completions = _native.Completions()
jobs = [engine.submit([_native.Request(source) for source in SOURCES], OPTIONS) for _ in range(50)]
for name, job in enumerate(jobs):
    completions.add(job, name)
waiting = [threading.Thread(target=jobs[-1].result), threading.Thread(target=completions.wait)]
for one in waiting:
    one.start()
child = os.fork()
if child == 0:
    del jobs, job, engine, waiting, completions
    gc.collect()
    sys.exit(0)
print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
for one in waiting:
    one.join()
print(len(jobs[-1].result()))
"""
        assert run_script(code, tmp_path).split() == ["0", "0"]
