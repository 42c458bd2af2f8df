"""The library as a package: installed, found, moved, and built as a part of another project.

The other project has settings that must not become ours: flags that bend arithmetic, that turn
exceptions off or warnings into errors, another standard, another kind of library. And it has no
Python.
"""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest

import pytransformer
from bundled import GERMAN, bundled_model
from c_header import Status
from c_interface import CError, CLibrary, CTranslator
from embedding import ROOT, need, run
from native_images import aligned

if TYPE_CHECKING:
    from embedding import Library

TEXTS = [*GERMAN[:8], "", "Ein Hund.\nZwei Hunde."]
BEAMS = 4
VERSION = re.findall(r'^version = "(.*)"$', (ROOT / "pyproject.toml").read_text(), re.MULTILINE)[0]

# Both print the exact score and the text of every translation of their arguments.
PROGRAMS = {
    "app.c": r"""
#include <pytransformer.h>
#include <stdio.h>

int main(int argc, char** argv) {
  pytransformer_error error = PYTRANSFORMER_ERROR_INIT;
  pytransformer_translator* translator = NULL;
  pytransformer_options options;
  pytransformer_open(argv[1], NULL, &translator, &error);
  pytransformer_options_init(&options, sizeof options);
  options.beam_size = 4;
  options.return_scores = 1;
  for (int i = 2; i < argc && error.status == 0; ++i) {
    const pytransformer_text text = {argv[i], SIZE_MAX};
    pytransformer_result* result = NULL;
    pytransformer_hypothesis best;
    pytransformer_hypothesis_init(&best, sizeof best);
    pytransformer_translate_texts(translator, &text, 1, &options, &result, &error);
    pytransformer_result_get(result, 0, 0, &best, &error);
    if (error.status == 0) printf("%a %s\n", best.score, best.text.data);
    pytransformer_result_free(result);
  }
  pytransformer_close(translator);
  fputs(error.message, stderr);
  return error.status;
}
""",
    "app.cc": r"""
#include <pytransformer.hpp>
#include <cstdio>

int main(int argc, char** argv) {
  const pytransformer::Translator translator(argv[1]);
  pytransformer::Options options;
  options.beam_size = 4;
  options.return_scores = 1;
  for (int i = 2; i < argc; ++i) {
    const auto best = translator.translate_texts({argv[i]}, options).at(0).at(0);
    std::printf("%a %s\n", best.score, best.text.c_str());
  }
}
""",
}
SOURCES = {"C": "app.c", "CXX": "app.cc"}

CONSUMER = """
cmake_minimum_required(VERSION 3.21)
project(consumer LANGUAGES {language})
find_package(pytransformer {version} CONFIG REQUIRED)
add_executable(app {source})
target_link_libraries(app PRIVATE pytransformer::pytransformer)
"""

# It says what it is after it has taken the library in.
HOST = """
cmake_minimum_required(VERSION 3.21)
project(host VERSION 7.8 LANGUAGES C CXX)
set(CMAKE_CXX_STANDARD 17)
set(CMAKE_UNITY_BUILD ON)
include(FetchContent)
FetchContent_Declare(pytransformer URL "https://nowhere.invalid/")
FetchContent_MakeAvailable(pytransformer)
add_executable(app_c app.c)
add_executable(app_cxx app.cc)
target_compile_options(app_cxx PRIVATE -fexceptions)
foreach(app app_c app_cxx)
  target_link_libraries(${app} PRIVATE pytransformer::pytransformer)
endforeach()
add_library(own EXCLUDE_FROM_ALL app.c)
get_target_property(type own TYPE)
file(WRITE "${CMAKE_BINARY_DIR}/own" "${type} ${PROJECT_NAME} ${PROJECT_VERSION} "
  "${CMAKE_CXX_STANDARD} ${CMAKE_UNITY_BUILD} [${CMAKE_BUILD_TYPE}] [${BUILD_SHARED_LIBS}]")
"""
HOST_FLAGS = (
    "-Ofast -march=native -funsafe-math-optimizations -fassociative-math -freciprocal-math "
    "-ffinite-math-only -fno-signed-zeros -fno-exceptions -fno-rtti -Wconversion -Werror"
)
# What a build may leave in the cache of the project around it: its own, and CMake's modules'.
HOST_CACHE = re.compile(r"(CMAKE|FETCHCONTENT|PYTRANSFORMER|OpenMP|PKG_CONFIG|pkgcfg)_")

HOST_OF_C = """
cmake_minimum_required(VERSION 3.21)
project(host LANGUAGES C)
add_subdirectory("{root}" pytransformer)
add_executable(app app.c)
target_link_libraries(app PRIVATE pytransformer::pytransformer)
"""


def write_project(folder: Path, text: str) -> Path:
    folder.mkdir(exist_ok=True)
    (folder / "CMakeLists.txt").write_text(text)
    for name, program in PROGRAMS.items():
        (folder / name).write_text(program)
    return folder


@pytest.fixture(scope="module", autouse=True)
def tools() -> None:
    need("cmake", "cc", "c++", "pkg-config")


def real_cmake() -> str:
    """CMake's program itself; what stands on the path may be a script in Python that starts it."""
    made = subprocess.run(
        ["cmake", "-P", "/dev/stdin"],
        input="message(${CMAKE_COMMAND})",
        capture_output=True,
        text=True,
        check=True,
    )
    return made.stderr.strip()


def programs_without_python(folder: Path) -> str:
    """A folder with all programs of the path but Python's."""
    folder.mkdir()
    for directory in map(Path, os.environ["PATH"].split(os.pathsep)):
        for program in directory.glob("*"):
            link = folder / program.name
            if not program.name.startswith("py") and not link.is_symlink():
                link.symlink_to(program)
    assert shutil.which("python3", path=str(folder)) is None
    return str(folder)


@dataclass(frozen=True)
class Host:
    """Another project's builds with the library in them, one after the other, static and shared."""

    prefix: Path  # where the static one has installed our library
    found: dict[tuple[str, str], str]  # what its programs print, by kind and language
    own: dict[str, str]  # by kind, what the project says of itself
    cache: str
    shared: Path


@pytest.fixture(scope="module")
def host(tmp_path_factory: pytest.TempPathFactory) -> Host:
    base = tmp_path_factory.mktemp("host")
    source, build = write_project(base / "source", HOST), base / "build"
    cmake = real_cmake()
    environment = {**os.environ, "PATH": programs_without_python(base / "bin")}
    generator = [] if shutil.which("make") else ["-G", "Ninja"]
    found, own = {}, {}
    for kind, shared in (("static", []), ("shared", ["-DBUILD_SHARED_LIBS=ON"])):
        run(
            [cmake, "-S", source, "-B", build, *generator, *shared,
             f"-DFETCHCONTENT_SOURCE_DIR_PYTRANSFORMER={ROOT}",
             "-DFETCHCONTENT_FULLY_DISCONNECTED=ON",
             f"-DCMAKE_CXX_FLAGS={HOST_FLAGS}", f"-DCMAKE_INSTALL_PREFIX={base / 'prefix'}",
             "-DCMAKE_COMPILE_WARNING_AS_ERROR=ON", "-DPYTRANSFORMER_INSTALL=ON",
             "-DCMAKE_DISABLE_FIND_PACKAGE_Python=ON", "-DCMAKE_DISABLE_FIND_PACKAGE_Python3=ON"],
            env=environment,
        )  # fmt: skip
        jobs = str(os.cpu_count() or 1)
        run([cmake, "--build", build, "--parallel", jobs], env=environment)
        own[kind] = (build / "own").read_text()
        for language in SOURCES:
            program = build / f"app_{language.lower()}"
            found[kind, language] = run([program, bundled_model(), *TEXTS])
        if kind == "static":
            run([cmake, "--install", build], env=environment)
    cache = (build / "CMakeCache.txt").read_text()
    return Host(base / "prefix", found, own, cache, next(build.glob("**/libpytransformer.so")))


@pytest.fixture(scope="module")
def expected() -> list[tuple[float, str]]:
    """Scores and texts of Python; a text of several lines has no score."""
    translator = pytransformer.Translator(bundled_model())
    found = []
    for text in TEXTS:
        if "\n" in text:
            found.append((0.0, translator.translate(text, beam_size=BEAMS)))
            continue
        ((best,),) = translator.translate_n_best([text], beam_size=BEAMS)
        found.append((best.score, best.text))
    return found


def parsed(printed: str) -> list[tuple[float, str]]:
    """What the programs print, as `expected` has it."""
    entries = re.findall(r"^(-?0x\S+) (.*(?:\n(?!-?0x).+)*)$", printed, re.MULTILINE)
    return [(float.fromhex(score), text) for score, text in entries]


@pytest.fixture(params=["shared", "static"])
def moved(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    """An installed tree at another place than it was made for; the static one is the host's."""
    made = request.getfixturevalue("library" if request.param == "shared" else "host").prefix
    return Path(shutil.copytree(made, tmp_path / "moved tree", symlinks=True))


def library_folder(prefix: Path) -> Path:
    return next(prefix.glob("lib*/**/libpytransformer.*")).parent


def environment_of(prefix: Path) -> dict[str, str]:
    return {
        **os.environ,
        "LD_LIBRARY_PATH": str(library_folder(prefix)),
        "PKG_CONFIG_PATH": str(library_folder(prefix) / "pkgconfig"),
    }


@pytest.mark.parametrize("language", SOURCES)
def test_found_by_cmake(
    language: str, moved: Path, expected: list[tuple[float, str]], tmp_path: Path
) -> None:
    """A project in C alone has no C++ compiler, nor its OpenMP."""
    text = CONSUMER.format(language=language, source=SOURCES[language], version=VERSION)
    source, build = write_project(tmp_path / "source", text), tmp_path / "build"
    run(["cmake", "-S", source, "-B", build, f"-DCMAKE_PREFIX_PATH={moved}"])
    run(["cmake", "--build", build])
    assert parsed(run([build / "app", bundled_model(), *TEXTS])) == expected


@pytest.mark.parametrize("compiler", ["cc", "c++", "clang", "clang++"])
def test_found_by_pkg_config(
    compiler: str, moved: Path, expected: list[tuple[float, str]], tmp_path: Path
) -> None:
    """What the static library needs is told without --static too: it has no other use."""
    if shutil.which(compiler) is None:
        pytest.skip(f"there is no {compiler}")
    is_cpp = compiler.endswith("++")
    write_project(tmp_path, "")
    environment = environment_of(moved)
    command = ["pkg-config", "--cflags", "--libs", "pytransformer"]
    flags = shlex.split(run(command, env=environment))
    assert set(shlex.split(run([*command, "--static"], env=environment))) == set(flags)
    begin = [compiler, "-std=c++17", "app.cc"] if is_cpp else [compiler, "app.c"]
    run([*begin, "-o", "app", *flags], cwd=tmp_path)
    printed = run([tmp_path / "app", bundled_model(), *TEXTS], env=environment)
    assert parsed(printed) == expected


def test_installed_files(moved: Path) -> None:
    """All of them, and none says where they were made."""
    folder = library_folder(moved)
    is_static = (folder / "libpytransformer.a").exists()
    names = ["a"] if is_static else ["so", "so.1", f"so.1.{VERSION}"]
    expected = {
        *(folder / f"libpytransformer.{name}" for name in names),
        *(moved / "include" / f"pytransformer{name}" for name in (".h", ".hpp", "_errors.hpp")),
        *(
            folder / "cmake" / "pytransformer" / f"pytransformer{name}.cmake"
            for name in ("Config", "ConfigVersion", "Targets")
        ),
        *folder.glob("cmake/pytransformer/pytransformerTargets-*.cmake"),
        folder / "pkgconfig" / "pytransformer.pc",
    }
    assert {path for path in moved.rglob("*") if not path.is_dir()} == expected
    for path in expected:
        if path.suffix in (".cmake", ".pc", ".h", ".hpp"):
            text = path.read_text()
            assert str(ROOT) not in text
            assert str(moved.parent.parent) not in text  # where all of this run's folders lie


def test_versions(moved: Path, library: Library, tmp_path: Path) -> None:
    """All of them are pyproject.toml's; another major one is not taken for it."""
    environment = environment_of(moved)
    said = run(["pkg-config", "--modversion", "pytransformer"], env=environment)
    assert said == VERSION + "\n"
    script = tmp_path / "find.cmake"
    script.write_text(
        "find_package(pytransformer 99 CONFIG QUIET)\n"
        'message("${pytransformer_FOUND} ${pytransformer_CONSIDERED_VERSIONS}")'
    )
    found = run(["cmake", f"-DCMAKE_PREFIX_PATH={moved}", "-P", script])
    assert found.split() == ["0", VERSION]
    assert CLibrary(library.shared).version().decode() == VERSION


@pytest.mark.parametrize("kind", ["static", "shared"])
@pytest.mark.parametrize("language", SOURCES)
def test_a_project_around_it_changes_no_bit(
    kind: str, language: str, host: Host, expected: list[tuple[float, str]]
) -> None:
    """Its programs drop denormals, too."""
    assert parsed(host.found[kind, language]) == expected


def test_a_project_around_it_keeps_what_it_is(host: Host) -> None:
    assert host.own == {
        "static": "STATIC_LIBRARY host 7.8 17 ON [] []",
        "shared": "SHARED_LIBRARY host 7.8 17 ON [] [ON]",
    }
    names = re.findall(r"^(\w+):(?!INTERNAL|STATIC)", host.cache, re.MULTILINE)
    left = [name for name in names if not HOST_CACHE.match(name)]
    assert left == ["BUILD_SHARED_LIBS"]  # given on the command line


def test_loading_it_keeps_denormals(host: Host) -> None:
    """Code that drops them for the whole process is linked where flags of fast arithmetic are."""
    program = (
        f"import ctypes, sys; ctypes.CDLL({str(host.shared)!r}); print(sys.float_info.min / 2)"
    )
    assert float(run([sys.executable, "-c", program])) == sys.float_info.min / 2


def test_numbers_that_are_not_finite_are_still_seen(host: Host) -> None:
    image = aligned(np.fromfile(bundled_model(), np.uint8))
    # The last tensor of the file is the tokenizer's; anything of the weights' second half will do.
    image[image.size // 2 : image.size // 2 + 2**18] = 0xFF
    with (
        CTranslator(CLibrary(host.shared), image) as translator,
        pytest.raises(CError, match="not finite") as caught,
    ):
        translator.translate_ids([[5, 6, 0]])
    assert caught.value.status == Status.DECODING


def test_a_part_is_not_installed(tmp_path: Path) -> None:
    """Unless asked for; and the project around it may be in C alone."""
    source = write_project(tmp_path / "source", HOST_OF_C.format(root=ROOT))
    build, prefix = tmp_path / "build", tmp_path / "prefix"
    run(["cmake", "-S", source, "-B", build, f"-DCMAKE_INSTALL_PREFIX={prefix}"])
    run(["cmake", "--install", build])
    assert not prefix.exists()


def test_without_openmp(tmp_path: Path) -> None:
    command = [
        "cmake", "-S", ROOT, "-B", tmp_path / "build", "-DCMAKE_DISABLE_FIND_PACKAGE_OpenMP=ON"
    ]  # fmt: skip
    done = subprocess.run(list(map(str, command)), capture_output=True, text=True, check=False)
    assert done.returncode != 0
    assert "There is no OpenMP for" in done.stderr
    assert "libomp-dev" in done.stderr


def test_a_compiler_before_cxx17_is_told(library: Library, tmp_path: Path) -> None:
    (tmp_path / "app.cc").write_text("#include <pytransformer.hpp>\n")
    command = ["c++", "-std=c++14", f"-I{library.include}", "-c", "app.cc"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode != 0
    assert "pytransformer.hpp needs C++17" in done.stderr
