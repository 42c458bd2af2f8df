"""The library is a good guest: programs in C (tests/guest/) look at their own process around it."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from embedding import need, run
from pytransformer.model_files import BUNDLED_MODEL

if TYPE_CHECKING:
    from embedding import Library

SOURCES = Path(__file__).parent / "guest"


class Guests:
    """Builds the programs and runs them with the model."""

    def __init__(self, library: Library, directory: Path) -> None:
        need("cc")
        self._library = library
        self._directory = directory

    def run(self, name: str, *words: str | Path, linked: bool = True, **variables: str) -> str:
        """What the program prints; it must say that all is well, and complain of nothing."""
        program = self._directory / name
        link = [f"-L{self._library.lib}", "-lpytransformer"] if linked else ["-ldl"]
        flags = ["-std=gnu11", "-Wall", "-Wextra", "-Werror", f"-I{self._library.include}"]
        run(["cc", *flags, SOURCES / f"{name}.c", "-o", program, *link, "-lm", "-pthread"])
        done = subprocess.run(
            [program, BUNDLED_MODEL, *words],
            capture_output=True,
            check=False,
            text=True,
            cwd=self._directory,
            env={**self._library.environment, **variables},
        )
        assert (done.returncode, done.stderr) == (0, "")
        return done.stdout


@pytest.fixture
def guests(library: Library, tmp_path: Path) -> Guests:
    return Guests(library, tmp_path)


def german_locale(directory: Path) -> dict[str, str]:
    """Variables with which a locale is found whose numbers have commas, if it can be made."""
    source = Path("/usr/share/i18n/locales/de_DE")
    if shutil.which("localedef") is None or not source.exists():
        return {}
    made = directory / "de_DE.UTF-8"
    command = ["localedef", "-i", "de_DE", "-f", "UTF-8", str(made)]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    return {"LOCPATH": str(directory)}


def test_prints_nothing(guests: Guests) -> None:
    """Neither in success nor in any error."""
    assert guests.run("quiet") == ""


def test_leaves_the_process_as_it_is(guests: Guests, tmp_path: Path) -> None:
    """Signals, floating point, affinity, locale, environment, files, limits, folder, umask."""
    assert guests.run("state", **german_locale(tmp_path)) == ""


def test_threads_come_late_and_go(guests: Guests) -> None:
    assert guests.run("threads") == ""


def test_children_translate(guests: Guests) -> None:
    assert guests.run("fork") == ""


@pytest.mark.parametrize("intra_threads", ["1", "2"])
def test_eight_threads_share_a_model(guests: Guests, intra_threads: str) -> None:
    assert guests.run("share", intra_threads) == ""


def test_memory_limit(guests: Guests) -> None:
    said = guests.run("memory")
    assert "max_memory is 1048576" in said
    assert "may need" in said
    assert said.count("\n") == 1


def test_loaded_a_hundred_times(guests: Guests, library: Library) -> None:
    """Each time the library leaves the process again, and with it all that it took."""
    assert guests.run("reload", library.shared, linked=False) == ""
