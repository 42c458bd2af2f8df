"""Damaged Hugging Face directories of every family: opened and used, or refused as they should be.

Whatever a file says, there is a translation or an error of this package, and little memory is used.
"""

from __future__ import annotations

import contextlib
import hashlib
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from checkpoints import edit_json
from hostile_directories import (
    DIRECTORIES,
    TEXT,
    store_as_bin,
    store_as_shards,
    use,
    write_directory,
)
from memory_bounds import memory_within
from mutations import damaged, json_mutants, refused, rewritten
from pytransformer import Translator
from pytransformer.errors import PytransformerError
from pytransformer.loaders.huggingface import Settings
from pytransformer.loaders.huggingface_t5_tokenizer import read_tokenizer
from pytransformer.loaders.safetensors_file import SafetensorsFile
from pytransformer.model_files import read_checkpoint
from pytransformer.model_spec import Checkpoint
from pytransformer.tokenizers import create

pytestmark = [
    pytest.mark.filterwarnings("error"),
    pytest.mark.filterwarnings("ignore:.*not supported and ignored"),
]

LEAST = 2000  # inputs of each format
MEGABYTES = 80  # beyond what a process has that has opened some models
Counts = tuple[int, int]

# Mutants of each file, of its values and of its bytes.
COUNTS: dict[str, Counts] = {
    "config.json": (150, 15),
    "generation_config.json": (40, 10),
    "tokenizer_config.json": (60, 10),
    "tokenizer.json": (80, 20),
    "vocab.json": (30, 10),
}
OTHERS = (30, 40)
WEIGHTS = (150, 350)


def in_header(content: bytes, count: int, seed: int) -> Iterator[bytes]:
    """Safetensors whose header has one value changed; the data lie where they did."""
    start = 8 + int.from_bytes(content[:8], "little")
    for header in json_mutants(content[8:start], count, seed):
        yield len(header).to_bytes(8, "little") + header + content[start:]


def mutants_of(name: str, content: bytes, counts: Counts, seed: int) -> Iterator[bytes]:
    """Damaged contents of one file."""
    values, places = counts
    if name.endswith(".json"):
        yield from json_mutants(content, values, seed)
    if name.endswith(".safetensors"):
        yield from in_header(content, values, seed)
    if content:
        yield from damaged(content, places, seed)
        yield from damaged(content, places // 2, seed + 1, reach=300)


class User:
    """Opens directories and uses each that can be opened, unless it has used an equal one."""

    def __init__(self) -> None:
        self.used = 0
        self._known: set[bytes] = set()

    def __call__(self, path: Path) -> None:
        checkpoint = read_checkpoint(str(path))
        key = _digest(checkpoint)
        if key not in self._known:
            self._known.add(key)
            self.used += 1
            with contextlib.suppress(PytransformerError):
                use(checkpoint, checkpoint)


def _digest(checkpoint: Checkpoint) -> bytes:
    digest = hashlib.sha256(checkpoint.config_json().encode())
    for name in sorted(checkpoint.files):
        digest.update(name.encode() + checkpoint.files[name])
    for name in checkpoint.tensors:
        digest.update(checkpoint.tensors[name].tobytes())
    return digest.digest()


@pytest.fixture(scope="module")
def directories(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """The sound directory of a name, written when it is first asked for."""
    root = tmp_path_factory.mktemp("sound")

    def directory(name: str) -> Path:
        path = root / name
        return path if path.is_dir() else write_directory(path, name)

    return directory


def damage(path: Path, counts: dict[str, Counts]) -> tuple[int, int, int]:
    """How many inputs there were, how many of them were refused and how many used."""
    user = User()
    user(path)
    assert user.used == 1
    inputs = refusals = 0
    with memory_within(MEGABYTES):
        for seed, name in enumerate(sorted(counts)):
            file = path / name
            content = file.read_bytes()
            for _ in rewritten(file, mutants_of(name, content, counts[name], seed)):
                inputs += 1
                refusals += refused(user, path)
            file.write_bytes(content)
    return inputs, refusals, user.used


@pytest.mark.parametrize("name", DIRECTORIES)
def test_files(name: str, directories: Callable[[str], Path], tmp_path: Path) -> None:
    """About ten thousand inputs."""
    path = shutil.copytree(directories(name), tmp_path / name)
    counts = {file.name: COUNTS.get(file.name, OTHERS) for file in path.iterdir()}
    inputs, refusals, used = damage(path, counts)
    assert inputs > LEAST / 6
    assert inputs / 4 < refusals < inputs
    assert used > 5


@pytest.mark.parametrize(
    ("store", "count"),
    [
        (lambda path: store_as_bin(path, 1), 1),
        (lambda path: store_as_bin(path, 2), 3),
        (store_as_shards, 3),
    ],
    ids=["bin", "bin-shards", "safetensors-shards"],
)
def test_weights(
    store: Callable[[Path], None],
    count: int,
    directories: Callable[[str], Path],
    tmp_path: Path,
) -> None:
    path = shutil.copytree(directories("fsmt"), tmp_path / "x")
    store(path)
    files = [file.name for file in path.iterdir() if "model" in file.name]
    assert len(files) == count
    inputs, refusals, used = damage(path, dict.fromkeys(files, WEIGHTS))
    assert inputs > LEAST / 4
    assert inputs / 4 < refusals < inputs
    assert used > 5


def test_safetensors(directories: Callable[[str], Path], tmp_path: Path) -> None:
    content = (directories("bert") / "model.safetensors").read_bytes()
    path = tmp_path / "x.safetensors"

    def read(path: Path) -> None:
        file = SafetensorsFile(path)
        for name in file.shapes:
            if file.dtype(name) == "F32":
                file.read(name)

    with memory_within(MEGABYTES):
        files = rewritten(path, mutants_of(path.name, content, (LEAST, LEAST), 1))
        refusals = sum(refused(read, file) for file in files)
    assert LEAST < refusals < 2.5 * LEAST


@pytest.mark.parametrize("name", ["tokenizer.json", "spiece.model"])
def test_pieces(name: str, directories: Callable[[str], Path], tmp_path: Path) -> None:
    """Unigram models, which are read here; only those that can be read cut texts."""
    content = (directories("t5" if name == "spiece.model" else "umt5-json") / name).read_bytes()

    def read(path: Path) -> None:
        config = Settings({"model_type": "umt5"}, path / "config.json")
        spec, files = read_tokenizer(path, config, 10_000)
        with contextlib.suppress(PytransformerError):  # in use, its path is forgotten
            tokenizer = create(spec, files)
            tokenizer.decode(tokenizer.encode_ids(TEXT))

    counts = (1200, 600) if name == "tokenizer.json" else (0, 1400)
    with memory_within(MEGABYTES):
        files = rewritten(tmp_path / name, mutants_of(name, content, counts, 1))
        refusals = sum(refused(read, path.parent) for path in files)
    assert LEAST / 4 < refusals < LEAST


def test_nothing_is_run(directories: Callable[[str], Path], tmp_path: Path) -> None:
    """Directories may bring code along, which transformers runs if it is trusted."""
    path = shutil.copytree(directories("t5"), tmp_path / "x")
    mark = tmp_path / "was run"
    code = f"open({str(mark)!r}, 'w')\n"
    for name in ("modeling_x.py", "configuration_x.py", "tokenization_x.py", "__init__.py"):
        (path / name).write_text(code)
    auto_map = {"AutoConfig": "configuration_x.X", "AutoModel": "modeling_x.X"}
    edit_json(path / "config.json", {"auto_map": auto_map, "custom_pipelines": {"x": "x.py"}})
    edit_json(path / "tokenizer_config.json", {"auto_map": {"AutoTokenizer": "tokenization_x.X"}})
    assert Translator(path).translate(TEXT, tgt_lang="de") == Translator(
        directories("t5")
    ).translate(TEXT, tgt_lang="de")
    assert not mark.exists()
