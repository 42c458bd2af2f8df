"""The examples in C++ and C are built as their readers would, and give what Python gives."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from embedding import ROOT, need, run
from example_lines import (
    BEAM_SIZES,
    COMPUTE_TYPES,
    TARGET,
    Scored,
    by_python,
    real_lines,
    stored_as,
)
from pytransformer.model_files import BUNDLED_MODEL

if TYPE_CHECKING:
    from embedding import Library

EXAMPLES = ROOT / "examples"
TEXT = "Ein Hund läuft durch den Schnee.\n\nWo ist der Bahnhof?\r\n \nHallo"
TRANSLATION = "A dog runs through the snow.\n\nWhere's the station?\r\n\nHello\n"


def build_cpp(library: Library, directory: Path) -> Path:
    need("cmake", "c++")
    environment = {**library.environment, "CXXFLAGS": "-Wall -Wextra -Wshadow -Werror"}
    run(["cmake", "-S", EXAMPLES / "cpp", "-B", directory], env=environment)
    run(["cmake", "--build", directory])
    return directory / "translate"


def build_c(library: Library, directory: Path) -> Path:
    need("make", "cc", "pkg-config")
    shutil.copytree(EXAMPLES / "c", directory, dirs_exist_ok=True)
    run(["make"], cwd=directory, env={**library.environment, "CFLAGS": "-pedantic -Werror"})
    return directory / "translate"


BUILD = {"cpp": build_cpp, "c": build_c}


class Program:
    """A built example."""

    def __init__(self, language: str, library: Library, directory: Path) -> None:
        self._path = BUILD[language](library, directory)
        self._environment = library.environment
        self._directory = directory

    def run(self, *words: str | Path, text: str = "") -> tuple[int, str, str]:
        """Its exit status, what it writes, and what it complains of."""
        done = subprocess.run(
            [self._path, *words],
            input=text.encode(),
            capture_output=True,
            check=False,
            cwd=self._directory,
            env=self._environment,
        )
        return done.returncode, done.stdout.decode(), done.stderr.decode()

    def scored(self, model: Path, lines: list[str], beam_size: int) -> Scored:
        words = ["--to", TARGET, "--beam-size", str(beam_size), "--scores"]
        status, out, complaint = self.run(model, *words, text="".join(f"{one}\n" for one in lines))
        assert (status, complaint) == (0, "")
        pairs = [line.split("\t", 1) for line in out.removesuffix("\n").split("\n")]
        return [(text, float.fromhex(score).hex()) for score, text in pairs]


@pytest.fixture(scope="module", params=BUILD)
def program(
    request: pytest.FixtureRequest, library: Library, tmp_path_factory: pytest.TempPathFactory
) -> Program:
    return Program(request.param, library, tmp_path_factory.mktemp(request.param))


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    directory = tmp_path_factory.mktemp("models")
    return {kind: stored_as(kind, directory) for kind in COMPUTE_TYPES}


@pytest.fixture(scope="module")
def lines(shared_data: Path) -> list[str]:
    return real_lines(shared_data)


@pytest.mark.parametrize("beam_size", BEAM_SIZES)
@pytest.mark.parametrize("compute_type", COMPUTE_TYPES)
def test_same_as_python(
    program: Program,
    models: dict[str, Path],
    lines: list[str],
    compute_type: str,
    beam_size: int,
) -> None:
    """A thousand lines: the texts, and every bit of the scores."""
    found = program.scored(models[compute_type], lines, beam_size)
    assert found == by_python(compute_type, lines, beam_size)


def test_texts(program: Program) -> None:
    assert program.run(BUNDLED_MODEL, "--to", TARGET, text=TEXT) == (0, TRANSLATION, "")


def test_the_last_newline_counts_for_nothing(program: Program) -> None:
    assert program.run(BUNDLED_MODEL, text=TEXT + "\n") == (0, TRANSLATION, "")
    assert program.run(BUNDLED_MODEL) == (0, "", "")


@pytest.mark.parametrize(
    ("words", "complaint"),
    [
        (["no-such-model"], "no-such-model: No such file or directory"),
        ([str(BUNDLED_MODEL), "--to", "xx"], "unknown target language 'xx'"),
        ([str(BUNDLED_MODEL), "--beam-size", "many"], "beam_size"),
        ([], "MODEL"),
    ],
)
def test_errors(program: Program, words: list[str], complaint: str) -> None:
    status, out, said = program.run(*words, text=TEXT)
    assert (status != 0, out) == (True, "")
    assert complaint in said
    assert said.count("\n") == 1


def test_cpp_streams(library: Library, tmp_path: Path) -> None:
    program = Program("cpp", library, tmp_path)
    assert program.run(BUNDLED_MODEL, "--stream", text=TEXT) == (0, TRANSLATION, "")


@pytest.mark.parametrize("name", ["cpp/translate.cc", "c/translate.c", "cython/lines.pyx"])
def test_examples_are_short(name: str) -> None:
    assert len((EXAMPLES / name).read_text().splitlines()) < 100
