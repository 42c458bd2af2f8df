"""Results in a process whose threads, signals, numbers and locale are as its owner wants them."""

from __future__ import annotations

import platform
import subprocess
import sys
from pathlib import Path

import pytest

from checkpoints import MarianCheckpoint
from guest_process import STATE, run_script

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="looks at Linux's /proc")

IS_X86 = platform.machine() in ("x86_64", "AMD64")
IS_ARM = platform.machine() == "aarch64"

# All that is computed, from a checkpoint that is converted when it is opened and from other models.
DIGEST = """
def with_denormals():
    checkpoint = lively_checkpoint()
    for name, tensor in checkpoint.tensors.items():
        if ".feed_forward.up." in name:
            tensor *= numpy.float32(1e-39)
        elif name.endswith(".feed_forward.down.weight"):
            tensor *= numpy.float32(1e38)
    return checkpoint

KINDS = ("plain", "biases", "vectors", "rotary", "ssru", "average")
MADE = [*(lively_checkpoint(kind=kind) for kind in KINDS), with_denormals(),
        random_checkpoint(model_spec())]
MADE = [native.build_image(checkpoint) for checkpoint in MADE]
TEXTS = ["Das Haus ist alt.", "Zwei Leute.", "Ein Kind spielt mit dem Ball."]

def digest():
    found = []
    for compute_type in ("float32", "bfloat16", "int8", "int4"):
        translator = Translator(sys.argv[1], compute_type=compute_type, inter_threads=2)
        found.append(translator.translate(TEXTS, beam_size=4))
        scores = translator.score_batch([[5, 6, 7]], [[8, 9]])
        found.append([one.log_probs for one in scores])
        found.append(translator.encode(TEXTS[2]).tobytes())
    for image in MADE:
        engine = _native.Engine(_native.Model.from_buffer(image, "test"), 2, 2)
        found.append(translate(engine))
        sampling = search_options(60, sampling_topk=0, sampling_temperature=2.0)
        found.append(run_search(engine, SOURCES, sampling))
        found.append(engine.logits(SOURCES[1], SOURCES[2]).tobytes())
        found.append([maps.tobytes() for maps in engine.attention(SOURCES[1], SOURCES[2])])
        found.append(engine.encode(SOURCES[0]).tobytes())
    return hashlib.sha256(repr(found).encode()).hexdigest()
"""


@pytest.fixture(scope="module")
def plain_digest(marian: MarianCheckpoint) -> str:
    return run_script(STATE + DIGEST + "print(digest())", marian.path, str(marian.path))


FLOATS = {
    "upwards": "C.fesetround({})".format("0x800" if IS_X86 else "0x400000"),
    "downwards": "C.fesetround({})".format("0x400" if IS_X86 else "0x800000"),
    "towards zero": "C.fesetround({})".format("0xc00" if IS_X86 else "0xc00000"),
    "without denormals": f"""
environment = ctypes.create_string_buffer(64)
C.fegetenv(environment)
words = numpy.frombuffer(environment, numpy.uint32)
words[7 if {IS_X86} else 0] |= 0x8040 if {IS_X86} else 1 << 24
C.fesetenv(environment)
""",
}
HOSTS = {
    "all signals blocked": """
signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())
""",
    "one core": "os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})",
}


class TestResultsStay:
    """The same bits, and the caller finds what it had set."""

    @pytest.mark.skipif(not (IS_X86 or IS_ARM), reason="knows x86's and ARM's registers")
    @pytest.mark.parametrize("case", [*FLOATS, *HOSTS])
    def test_caller(
        self, tmp_path: Path, marian: MarianCheckpoint, plain_digest: str, case: str
    ) -> None:
        code = f"""
{FLOATS.get(case) or HOSTS.get(case)}
before = state()
print(digest())
if state() != before:
    print(before, state())
"""
        assert run_script(STATE + DIGEST + code, tmp_path, str(marian.path)) == plain_digest

    @pytest.mark.parametrize(
        "environment",
        [
            {"OMP_NUM_THREADS": "1"},
            {"OMP_THREAD_LIMIT": "1"},
            {"OMP_DYNAMIC": "true"},
            {"GOMP_CPU_AFFINITY": "0", "KMP_AFFINITY": "compact"},
            {"OMP_PROC_BIND": "true", "OMP_PLACES": "cores"},
            {"OMP_WAIT_POLICY": "active", "OMP_MAX_ACTIVE_LEVELS": "4"},
        ],
        ids=lambda environment: next(iter(environment)),
    )
    def test_environment(
        self,
        tmp_path: Path,
        marian: MarianCheckpoint,
        plain_digest: str,
        environment: dict[str, str],
    ) -> None:
        code = STATE + DIGEST + "print(digest())"
        assert run_script(code, tmp_path, str(marian.path), **environment) == plain_digest

    def test_locale_with_a_decimal_comma(
        self, tmp_path: Path, marian: MarianCheckpoint, plain_digest: str
    ) -> None:
        try:
            made = subprocess.run(
                ["localedef", "-i", "de_DE", "-f", "UTF-8", str(tmp_path / "de_DE.UTF-8")],
                capture_output=True,
                check=False,
            )
        except OSError:
            made = None
        if made is None or not (tmp_path / "de_DE.UTF-8" / "LC_NUMERIC").exists():
            pytest.skip("localedef cannot make a German locale here")
        code = """
C.setlocale.restype = ctypes.c_char_p
assert C.setlocale(locale.LC_ALL, b"de_DE.UTF-8")
C.strtod.restype = ctypes.c_double
assert C.strtod(b"1,5", None) == 1.5
before = state()
print(digest())
if state() != before:
    print(before, state())
"""
        code = STATE + DIGEST + code
        found = run_script(code, tmp_path, str(marian.path), LOCPATH=str(tmp_path))
        assert found == plain_digest
