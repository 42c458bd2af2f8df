"""The source distribution: what it holds. `.ci/wheels` builds and tests wheels from it."""

from __future__ import annotations

import email
import shutil
import subprocess
import sys
import tarfile
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

import pytest

import pytransformer

pytest.importorskip("scikit_build_core")

ROOT = Path(__file__).resolve().parents[1]
# What lies in a clone that somebody works in, and what is of no use to who builds from source.
JUNK = (
    ".venv/lib/python3.11/site-packages/numpy/__init__.py",
    ".git/config",
    ".ci/run",
    "build/cp311-cp311-linux_x86_64/CMakeCache.txt",
    "dist/pytransformer-0.0.0.tar.gz",
    "pytransformer.egg-info/PKG-INFO",
    "pytransformer/_native.cpython-311-x86_64-linux-gnu.so",
    "pytransformer/__pycache__/__init__.cpython-311.pyc",
    "tests/__pycache__/conftest.cpython-311.pyc",
    "tests/.hypothesis/examples/0",
    ".pytest_cache/README.md",
)
NEEDED = (
    "CMakeLists.txt",
    "LICENSE",
    "README.md",
    "pyproject.toml",
    "pytransformer/models/de-en/model.safetensors",
    "pytransformer/py.typed",
    "pytransformer/_native.pyi",
    "tests/conftest.py",
    "docs/README.md",
)
MEGABYTES = 15  # packed; the bundled model takes 11 of them


def project_files() -> set[str]:
    """The paths of the project's own files, from git if it knows."""
    git = ["git", "-C", str(ROOT), "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    listed = subprocess.run(git, capture_output=True, text=True, check=False)
    if (ROOT / ".git").exists() and listed.returncode == 0:
        names = {name for name in listed.stdout.split("\0") if (ROOT / name).is_file()}
    else:
        folders = ("csrc", "pytransformer", "tests", "docs", "examples", "bench")
        found = [path for folder in folders for path in (ROOT / folder).rglob("*")]
        names = {path.relative_to(ROOT).as_posix() for path in found if path.is_file()}
        names |= {
            path.name for path in ROOT.iterdir() if path.is_file() and path.name != "PKG-INFO"
        }
    ignored = {"__pycache__", ".hypothesis", ".mypy_cache"}
    return {
        name
        for name in names
        if not ignored.intersection(PurePosixPath(name).parts) and not name.endswith(".so")
    }


@dataclass(frozen=True)
class Source:
    """An archive's files, by their paths below its one folder, and what it was made of.

    Attributes:
        clone: the paths that the project has.
        files: those that the archive has; contents of the small ones.
    """

    clone: set[str]
    files: dict[str, bytes | None]


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Source:
    folder = tmp_path_factory.mktemp("source")
    clone = folder / "clone"
    names = project_files()
    for name in names:
        (clone / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / name, clone / name)
    for name in JUNK:
        (clone / name).parent.mkdir(parents=True, exist_ok=True)
        if not (clone / name).exists():
            (clone / name).write_text("junk")
    if not (clone / ".gitignore").exists():
        pytest.skip("a source distribution is made from a clone")
    code = "import sys, scikit_build_core.build as b; b.build_sdist(sys.argv[1])"
    command = [sys.executable, "-c", code, str(folder)]
    subprocess.run(command, cwd=clone, check=True, capture_output=True)
    (path,) = folder.glob("*.tar.gz")
    assert path.name == f"pytransformer-{pytransformer.__version__}.tar.gz"
    assert path.stat().st_size < MEGABYTES << 20
    found: dict[str, bytes | None] = {}
    with tarfile.open(path) as archive:
        for member in archive:
            top, _, name = member.name.partition("/")
            assert top == path.name.removesuffix(".tar.gz")
            assert member.isfile(), name
            stream = archive.extractfile(member) if member.size < 100_000 else None
            found[name] = None if stream is None else stream.read()
    return Source(names, found)


def test_holds_the_project_and_nothing_else(source: Source) -> None:
    expected = {name for name in source.clone if not name.startswith(".")}
    assert set(source.files) == {*expected, "PKG-INFO"}
    assert set(NEEDED) <= set(source.files)


def test_says_what_it_is(source: Source) -> None:
    content = source.files["PKG-INFO"]
    assert content is not None
    metadata = email.message_from_bytes(content)
    assert metadata["Name"] == "pytransformer"
    assert metadata["Version"] == pytransformer.__version__
    assert metadata["License-Expression"] == "MIT"
    assert metadata.get_all("License-File") == ["LICENSE"]
    required = [r for r in metadata.get_all("Requires-Dist", []) if "extra ==" not in r]
    assert [r.partition(">")[0] for r in required] == ["numpy", "sentencepiece"]
    assert b"MIT" in (source.files["LICENSE"] or b"")
