"""The programs of docs/embedding.md are built and run as they stand there."""

from __future__ import annotations

import os
import re
import sys
import sysconfig
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

import pytransformer
from embedding import ROOT, need, run
from pytransformer.model_files import BUNDLED_MODEL

if TYPE_CHECKING:
    from embedding import Library

PAGE = (ROOT / "docs" / "embedding.md").read_text()
GERMAN = "Ein Hund läuft durch den Schnee."


def programs(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL)


@pytest.fixture
def here(tmp_path: Path) -> Path:
    """A folder in which the model lies under the name that the page gives it."""
    (tmp_path / "de-en.safetensors").symlink_to(BUNDLED_MODEL)
    return tmp_path


def flags(library: Library) -> list[str]:
    need("pkg-config")
    found = run(
        ["pkg-config", "--cflags", "--libs", "pytransformer"], env=library.environment
    ).split()
    # Quoted where it would otherwise end a word; there is nothing to quote here.
    return [*found, f"-Wl,-rpath,{library.lib}"]


def test_c_program(library: Library, here: Path) -> None:
    (program,) = programs("c")
    (here / "app.c").write_text(program)
    run(["cc", "-std=c11", "-Wall", "-Werror", "app.c", "-o", "app", *flags(library)], cwd=here)
    expected = pytransformer.Translator().translate("Ein Hund läuft.")
    assert run([here / "app"], cwd=here) == expected + "\n"


def test_c_program_says_what_is_wrong(library: Library, tmp_path: Path) -> None:
    (program,) = programs("c")
    (tmp_path / "app.c").write_text(program.replace("return error.status;", "return 0;"))
    run(["cc", "app.c", "-o", "app", *flags(library)], cwd=tmp_path)
    said = run([tmp_path / "app"], cwd=tmp_path)
    assert said == "de-en.safetensors: No such file or directory\n"


def test_cpp_program(library: Library, here: Path) -> None:
    program, callback = programs("cpp")
    (here / "app.cc").write_text(program)
    build = ["c++", "-std=c++17", "-Wall", "-Werror", "app.cc", "-o", "app", *flags(library)]
    run(build, cwd=here)
    (here / "lines").write_text(f"{GERMAN}\n\nZwei Männer.\n")
    expected = pytransformer.Translator().translate([GERMAN, "", "Zwei Männer."], beam_size=4)
    with (here / "lines").open() as lines:
        assert run([here / "app"], cwd=here, stdin=lines).splitlines() == expected

    # The line with the callback, in the place of that without.
    streaming = program.replace(
        "std::cout << translator.translate(line, options) << '\\n';",
        callback.replace("text, options", "line, options"),
    )
    (here / "app.cc").write_text(streaming)
    run(build, cwd=here)
    with (here / "lines").open() as lines:
        assert run([here / "app"], cwd=here, stdin=lines) == "".join(expected)


def test_cython_program(library: Library, here: Path) -> None:
    pytest.importorskip("Cython")
    (program,) = programs("cython")
    (here / "doc.pyx").write_text(program)
    run([sys.executable, "-m", "cython", "-I", Path(pytransformer.__file__).parents[1], "doc.pyx"],
        cwd=here)  # fmt: skip
    folders = [pytransformer.get_include(), sysconfig.get_paths()["include"]]
    suffix = sysconfig.get_config_var("EXT_SUFFIX")
    run(["cc", "-shared", "-fPIC", *(f"-I{folder}" for folder in folders), "doc.c", "-o",
         f"doc{suffix}"], cwd=here)  # fmt: skip
    code = f"import doc; print(doc.translate(b'de-en.safetensors', {GERMAN.encode()!r}))"
    told = run([sys.executable, "-c", code], cwd=here, env={**os.environ, "PYTHONPATH": str(here)})
    assert told.strip() == pytransformer.Translator().translate(GERMAN)
