"""Which instruction set runs, and that the environment can lower it but not raise it."""

import ctypes
import os
import platform
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from pytransformer._native import Kernels, active_isa, supported_isas

X86 = ["avx2", "avx512", "avx512_vnni", "avx512_bf16"]
AARCH64 = ["neon", "neon_dotprod"]
ORDER = ["portable", *{"x86_64": X86, "aarch64": AARCH64}.get(platform.machine(), [])]


def run(code: str, isa: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", f"from pytransformer import _native\n{code}"],
        # Not the clone's folder, whose source has no extension beside it.
        cwd=Path(__file__).parent,
        env={**os.environ, "PYTRANSFORMER_ISA": isa},
        capture_output=True,
        text=True,
        check=False,
    )


def test_supported_isas_are_listed_lowest_first() -> None:
    isas = supported_isas()
    assert isas[0] == "portable"
    assert isas == ORDER[: len(isas)]
    assert active_isa() in isas


@pytest.mark.parametrize("isa", supported_isas())
def test_environment_lowers_the_choice(isa: str) -> None:
    code = "isa = _native.active_isa(); print(isa, _native.Kernels(isa).compiled_isa)"
    result = run(code, isa)
    assert result.returncode == 0, result.stderr
    # What the compiler was told for the code that runs, not only what the table is called.
    assert result.stdout.split() == [isa, isa]


def test_empty_environment_means_the_best() -> None:
    assert run("print(_native.active_isa())", "").stdout.strip() == supported_isas()[-1]


@pytest.mark.parametrize("isa", ["AVX2", "sse9", "avx512_fp99", "avx2 "])
def test_unknown_isa_is_an_error_that_lists_the_valid_ones(isa: str) -> None:
    result = run("_native.active_isa()", isa)
    assert result.returncode != 0
    message = result.stderr.strip().splitlines()[-1]
    assert message.startswith("ValueError: PYTRANSFORMER_ISA")
    assert repr(isa) in message
    assert all(name in message for name in supported_isas())


def test_an_isa_that_the_machine_lacks_is_refused() -> None:
    """Be it for its age or for its kind."""
    for missing in sorted({*X86, *AARCH64} - set(supported_isas())):
        with pytest.raises(ValueError, match="portable"):
            Kernels(missing)
        assert run("_native.active_isa()", missing).returncode != 0


@pytest.mark.skipif(platform.machine() != "aarch64", reason="needs an ARM processor")
def test_dot_products_are_there_where_the_system_says_so() -> None:
    hardware_capabilities, dot_products = 16, 1 << 20
    has_them = ctypes.CDLL(None).getauxval(hardware_capabilities) & dot_products
    assert supported_isas() == ["portable", *(AARCH64 if has_them else AARCH64[:1])]


def test_the_forced_one_really_ran() -> None:
    """Without fused multiply-add some last bits differ: plain C++ cannot have run in its place."""
    isas = supported_isas()
    if len(isas) == 1:
        pytest.skip("this machine has only the portable instruction set")
    rng = np.random.default_rng(0)
    a = rng.normal(size=(4, 304)).astype(np.float32)
    packed = rng.normal(size=(4, 304, 16)).astype(np.float32)
    portable, *others = (Kernels(isa).gemm(a, packed) for isa in isas)
    for other in others:
        np.testing.assert_array_equal(other, others[0])
        assert (other != portable).any()
        np.testing.assert_allclose(other, portable, atol=1e-4)
