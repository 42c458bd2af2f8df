"""In one process with libraries that have pools of threads, and OpenMP runtimes, of their own."""

from __future__ import annotations

import importlib.util
import os
from pathlib import Path

import pytest

from ctranslate2_models import Variant, write_model
from neighbours import WORKS, Order, ask

NEIGHBOURS = [name for name in WORKS if name != "us"]
WAYS = ("in turn", "at once", "in turn")
# A neighbour may divide its own work otherwise where threads are short; its own sums then differ.
TOLERANCE = 1e-6
OPENING = "import os, sys; sys.setdlopenflags(os.RTLD_NOW | os.{})"

Results = list[list[float]]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Holds the model of CTranslate2, which is large enough for its threads to share."""
    variant = Variant(d_model=64, head_dim=16, d_ff=256, vocab=(300, 300))
    return write_model(tmp_path_factory.mktemp("neighbours"), variant)


@pytest.fixture(scope="module")
def alone(folder: Path) -> dict[str, list[float]]:
    """What everybody computes in a process of its own."""
    found = {}
    for name in WORKS:
        if name == "us" or importlib.util.find_spec(name) is not None:
            (found[name],) = ask(Order((name,), folder=str(folder)), folder)[name]
    return found


def installed(*names: str) -> None:
    for name in names:
        if importlib.util.find_spec(name) is None:
            pytest.skip(f"{name} is not installed")


def check(found: dict[str, Results], alone: dict[str, list[float]]) -> None:
    """Ours are the same to the last bit; what differs of a neighbour's does so by its rounding."""
    assert found.pop("us") == [alone["us"]]
    for name, results in found.items():
        for result in results:
            assert result == pytest.approx(alone[name], rel=TOLERANCE, abs=TOLERANCE), name


class TestImports:
    """Imported before us and after us, used in turn and at once."""

    @pytest.mark.parametrize("flags", ["RTLD_LOCAL", "RTLD_GLOBAL"])
    @pytest.mark.parametrize("we_are", ["first", "last"])
    @pytest.mark.parametrize("name", NEIGHBOURS)
    def test_one(
        self, folder: Path, alone: dict[str, list[float]], name: str, we_are: str, flags: str
    ) -> None:
        """Among global symbols, those of one copy of the runtime come before the others' own."""
        installed(name)
        names = ("us", name) if we_are == "first" else (name, "us")
        order = Order(names, WAYS, folder=str(folder), before=OPENING.format(flags))
        check(ask(order, folder), alone)

    @pytest.mark.parametrize("flags", ["RTLD_LOCAL", "RTLD_GLOBAL"])
    @pytest.mark.parametrize("we_are", ["first", "last"])
    def test_all(
        self, folder: Path, alone: dict[str, list[float]], we_are: str, flags: str
    ) -> None:
        """With global symbols, PyTorch's and CTranslate2's arithmetic differ without us too."""
        there = [name for name in NEIGHBOURS if name in alone]
        names = ("us", *there) if we_are == "first" else (*there, "us")
        order = Order(names, WAYS, folder=str(folder), before=OPENING.format(flags))
        found = ask(order, folder)
        check({"us": found["us"]} if flags == "RTLD_GLOBAL" else found, alone)

    def test_another_runtime(self, folder: Path, alone: dict[str, list[float]]) -> None:
        """LLVM's in the place of GNU's, as some distributions have it; one engine of two ends."""
        runtime = next(Path("/usr/lib").glob("*/libomp.so.5"), None)
        if runtime is None:
            pytest.skip("LLVM's OpenMP runtime is not installed")
        before = """
import threading
import pytransformer
several = pytransformer.Translator(inter_threads=2, intra_threads=2)
def use_many():
    for _ in range(5):
        pytransformer.Translator(inter_threads=1, intra_threads=3).translate("Ein Hund.")
user = threading.Thread(target=use_many)
user.start()
while user.is_alive():
    several.translate(["Ein Hund.", "Eine Katze."])
"""
        environment = {"LD_PRELOAD": str(runtime)}
        check(ask(Order(("us",), before=before, environment=environment), folder), alone)


class TestSettings:
    """What a neighbour or a user sets for all of a process, or for the thread that calls us."""

    @pytest.mark.parametrize(
        "environment",
        [
            {"OMP_NUM_THREADS": "1"},
            {"OMP_NUM_THREADS": "7", "OMP_DYNAMIC": "true"},
            {"OMP_THREAD_LIMIT": "1"},
            {"OMP_WAIT_POLICY": "active"},
            {"OMP_WAIT_POLICY": "passive", "OMP_MAX_ACTIVE_LEVELS": "0"},
            {"OMP_PROC_BIND": "close", "OMP_PLACES": "{0}"},
        ],
        ids=lambda one: " ".join(one),
    )
    def test_environment(
        self, folder: Path, alone: dict[str, list[float]], environment: dict[str, str]
    ) -> None:
        there = tuple(name for name in ("numpy", "sklearn") if name in alone)
        order = Order(("us", *there), WAYS, folder=str(folder), environment=environment)
        check(ask(order, folder), alone)

    def test_affinity_of_one_core(self, folder: Path, alone: dict[str, list[float]]) -> None:
        if not hasattr(os, "sched_setaffinity"):
            pytest.skip("this system has no such call")
        before = "import os; one = {min(os.sched_getaffinity(0))}; os.sched_setaffinity(0, one)"
        after = "assert os.sched_getaffinity(0) == one"
        check(ask(Order(("us", "numpy"), before=before, after=after), folder), alone)

    def test_denormal_numbers(self, folder: Path, alone: dict[str, list[float]]) -> None:
        """PyTorch's switch is one of the thread's that calls us, and stays as it is."""
        installed("torch")
        before = "import torch; assert torch.set_flush_denormal(True)"
        after = "assert (torch.full((8,), 1e-38) * 0.01).sum() == 0"
        check(ask(Order(("us",), before=before, after=after), folder), alone)

    @pytest.mark.parametrize("mode", [0x400, 0x800, 0xC00])
    def test_rounding(self, folder: Path, alone: dict[str, list[float]], mode: int) -> None:
        if os.uname().machine != "x86_64":
            pytest.skip("the numbers of the modes are those of x86-64")
        before = (
            "import ctypes, pytransformer; libm = ctypes.CDLL('libm.so.6');"
            f"assert libm.fesetround({mode}) == 0"
        )
        after = f"assert libm.fegetround() == {mode}"
        check(ask(Order(("us",), before=before, after=after), folder), alone)

    def test_numbers_of_threads(self, folder: Path, alone: dict[str, list[float]]) -> None:
        """We leave a neighbour's pool as large as it is, and ours does not follow it."""
        installed("torch", "threadpoolctl")
        before = """
import numpy, torch
from threadpoolctl import threadpool_info, threadpool_limits
x = torch.ones(300, 300) @ torch.ones(300, 300)
numpy.ones((300, 300)) @ numpy.ones((300, 300))
threadpool_limits(1)
torch.set_num_threads(1)
limits = {pool["filepath"]: pool["num_threads"] for pool in threadpool_info()}
"""
        after = """
assert torch.get_num_threads() == 1
now = {pool["filepath"]: pool["num_threads"] for pool in threadpool_info()}
assert limits.items() <= now.items(), (limits, now)
"""
        check(ask(Order(("us",), before=before, after=after), folder), alone)
