"""The library for C and C++, built and installed once for all tests that embed it."""

from __future__ import annotations

import fcntl
import os
import shlex
import shutil
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
REQUIRED = os.environ.get("PYTRANSFORMER_TEST_EMBEDDING") == "required"


@dataclass(frozen=True)
class Library:
    """An installed library.

    Attributes:
        prefix: where `cmake --install` has put it.
    """

    prefix: Path

    @property
    def include(self) -> Path:
        return self.prefix / "include"

    @property
    def lib(self) -> Path:
        return next(self.prefix.glob("lib*/**/libpytransformer.*")).parent

    @property
    def shared(self) -> Path:
        return self.lib / "libpytransformer.so"

    @property
    def environment(self) -> dict[str, str]:
        """The environment in which programs, pkg-config and CMake find the library."""
        return {
            **os.environ,
            "LD_LIBRARY_PATH": str(self.lib),
            "PKG_CONFIG_PATH": str(self.lib / "pkgconfig"),
            "CMAKE_PREFIX_PATH": str(self.prefix),
        }


def need(*programs: str) -> None:
    """Skips a test, or fails where embedding must be tested, if a program is missing."""
    missing = [program for program in programs if shutil.which(program) is None]
    if missing:
        lack(f"there is no {', '.join(missing)}")


def need_package(name: str) -> list[str]:
    """The compiler's flags for a library; skips or fails likewise if pkg-config finds none."""
    need("pkg-config")
    command = ["pkg-config", "--cflags", "--libs", name]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        lack(f"pkg-config finds no {name}")
    return shlex.split(done.stdout)


def lack(what: str) -> None:
    """Says why a test cannot run."""
    if REQUIRED:
        pytest.fail(what)
    pytest.skip(what)


def run(command: Sequence[str | Path], **arguments: object) -> str:
    """Runs a command, and gives what it writes; fails with all of that if the command fails."""
    done = subprocess.run(
        [str(word) for word in command],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
        **arguments,  # type: ignore[call-overload]
    )
    if done.returncode != 0:
        pytest.fail(f"{' '.join(map(str, command))} gave {done.returncode}:\n{done.stdout[-8000:]}")
    return str(done.stdout)


def build(directory: Path, *options: str) -> Path:
    """Builds the library in a directory and installs it; gives the prefix."""
    need("cmake", "c++")
    generator = ["-G", "Ninja"] if shutil.which("ninja") else []
    prefix = directory / "prefix"
    run(
        ["cmake", "-S", ROOT, "-B", directory / "build", *generator,
         f"-DCMAKE_INSTALL_PREFIX={prefix}", *options]
    )  # fmt: skip
    run(["cmake", "--build", directory / "build", "--parallel", str(os.cpu_count() or 1)])
    run(["cmake", "--install", directory / "build", "--strip"])
    return prefix


def find_or_build(directory: Path) -> Library:
    """The shared library: that which PYTRANSFORMER_TEST_LIBRARY names, or one built here.

    Processes that test side by side share the directory: one of them builds, the others wait.
    """
    given = os.environ.get("PYTRANSFORMER_TEST_LIBRARY")
    if given is not None:
        return Library(Path(given))
    directory.mkdir(exist_ok=True)
    with (directory / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        built = directory / "built"
        prefix = directory / "prefix" if built.exists() else build(directory)
        built.touch()
    return Library(prefix)
