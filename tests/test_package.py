"""The package as a whole: version, types, exported names, and how light it is to import."""

from __future__ import annotations

import importlib.metadata
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import pytransformer
from pytransformer import _native

PACKAGE = Path(pytransformer.__file__).parent
HEAVY = ["ctranslate2", "sentencepiece", "torch", "tqdm", "transformers"]


def run_python(code: str, cwd: Path) -> str:
    result = subprocess.run(
        [sys.executable, "-c", code], cwd=cwd, capture_output=True, text=True, check=True
    )
    return result.stdout


def test_version_is_that_of_the_distribution() -> None:
    assert pytransformer.__version__ == importlib.metadata.version("pytransformer")


def test_package_says_that_it_is_typed() -> None:
    assert (PACKAGE / "py.typed").is_file()


def test_exported_names_exist_and_have_docstrings() -> None:
    names = [name for name in pytransformer.__all__ if not name.startswith("_")]
    assert names == sorted(names)
    assert all(getattr(pytransformer, name).__doc__ for name in names)


def test_all_errors_are_of_one_family() -> None:
    errors = [getattr(pytransformer, n) for n in pytransformer.__all__ if n.endswith("Error")]
    assert errors
    assert all(issubclass(error, pytransformer.PytransformerError) for error in errors)


def test_import_is_light(tmp_path: Path) -> None:
    code = "import sys, pytransformer; print(*sys.modules)"
    loaded = {name.partition(".")[0] for name in run_python(code, tmp_path).split()}
    assert not loaded.intersection(HEAVY)


def test_import_of_the_source_says_what_is_wrong(tmp_path: Path) -> None:
    """Where Python is started in a clone, its source hides the package that is installed."""
    shutil.copytree(
        PACKAGE, tmp_path / "pytransformer", ignore=shutil.ignore_patterns("_native*", "models")
    )
    # -S: an editable install puts its finder before the folder.
    command = [sys.executable, "-S", "-c", "import pytransformer"]
    result = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert f"no compiled engine in {tmp_path}" in result.stderr


def test_import_prints_nothing_and_starts_no_thread(tmp_path: Path) -> None:
    code = "import os, pytransformer; assert len(os.listdir('/proc/self/task')) == 1"
    if not Path("/proc/self/task").is_dir():
        pytest.skip("counts threads in /proc, which this system lacks")
    # NumPy's BLAS has a pool of its own unless told otherwise.
    prefix = "import os; os.environ.update(OPENBLAS_NUM_THREADS='1', OMP_NUM_THREADS='1');"
    assert run_python(prefix + code, tmp_path) == ""


def test_stubs_agree_with_the_extension(tmp_path: Path) -> None:
    pytest.importorskip("mypy")
    classes = [name for name, value in vars(_native).items() if isinstance(value, type)]
    # pybind11's metaclass has no place in a stub, nor has a constructor that only raises.
    made_by_the_engine = ("Hypothesis", "Job", "Model", "TokenEvent")
    exempt = [*classes, *(f"{name}.__init__" for name in made_by_the_engine)]
    allowlist = tmp_path / "allowlist"
    allowlist.write_text("".join(f"pytransformer._native.{name}\n" for name in exempt))
    # mypy finds a package in site-packages by itself, but not one behind an editable install.
    beside = "" if "site-packages" in PACKAGE.parts else str(PACKAGE.parent)
    result = subprocess.run(
        [sys.executable, "-m", "mypy.stubtest", "--allowlist", allowlist, "pytransformer._native"],
        cwd=tmp_path,
        env={**os.environ, "MYPYPATH": beside},
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.returncode == 0, result.stdout + result.stderr
