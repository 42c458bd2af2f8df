"""Finds what belongs to a model of Marian: its file, its decoder's configuration, its vocabularies.

Configurations name files by paths of the machine on which they were written. Only the last part of
such a path counts, and the file must lie in the model's folder: none outside it is ever opened.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from pytransformer.errors import CheckpointError, UnsupportedModelError
from pytransformer.loaders.huggingface import Settings
from pytransformer.loaders.marian_binary import is_binary
from pytransformer.loaders.marian_yaml import read_settings

# What vocabularies are called that no configuration names, as patterns: the source's, the target's.
# The first line counts of whose patterns each fits one file.
_VOCABULARIES = (
    ("srcvocab*.spm", "trgvocab*.spm"),
    ("vocab*.spm", "vocab*.spm"),
    ("*vocab.yml", "*vocab.yml"),
    ("source.spm", "target.spm"),
    ("*.spm", "*.spm"),
)
_ZIP_START = b"PK\x03\x04"
_NPZ_SUFFIX = b".npy"


@dataclass(frozen=True)
class Vocabulary:
    """The files of one side: pieces (sentencepiece), tokens (their ids), or both."""

    pieces: Path | None
    tokens: Path | None


def is_model(path: Path) -> bool:
    """Whether a file begins as a model of Marian does: as an npz or a binary model."""
    if path.suffix not in (".npz", ".bin") or not path.is_file():
        return False
    return is_binary(path) or _is_npz(path)


def _is_npz(path: Path) -> bool:
    """Whether the first entry of a zip archive is an array of NumPy."""
    try:
        with open(path, "rb") as file:
            start = file.read(30)
            name = file.read(int.from_bytes(start[26:28], "little"))
    except OSError:
        return False
    return start.startswith(_ZIP_START) and name.endswith(_NPZ_SUFFIX)


def find_model(path: Path) -> Path:
    """The model's file: `path`, or the one in that folder that is meant, if this can be told."""
    if path.is_file():
        return path
    models = [item.name for item in sorted(path.iterdir()) if is_model(item)]
    choices = (
        [name for name in _named_models(path) if name in models],
        models,
        [name for name in models if name == "model.npz"],
        [name for name in models if name.endswith(".npz")],
    )
    for choice in choices:
        if len(choice) == 1:
            return path / choice[0]
    raise CheckpointError(
        f"{path}: there are several models, {', '.join(models)}; give the path of one of them"
    )


def _named_models(directory: Path) -> list[str]:
    """The models that the folder's configuration of a decoder names."""
    for name in ("decoder.yml", "config.yml"):
        if (directory / name).is_file():
            config = read_settings(directory / name)
            models = [_last_part(config, "models", item) for item in _listed(config, "models")]
            if len(models) > 1:
                raise UnsupportedModelError(
                    f"{config.path}: an ensemble of {len(models)} models is not supported; give "
                    "the path of one of them"
                )
            if models:
                return models
    return []


def find_decoder(model: Path) -> Settings | None:
    """The configuration of a decoder that names the model; else that of its training, if any."""
    directory, name = model.parent, model.name
    candidates = [
        f"{name}.decoder.yml",
        "decoder.yml",
        "config.yml",
        *sorted(item.name for item in directory.glob("config.*.yml")),
    ]
    for candidate in candidates:
        if (directory / candidate).is_file():
            config = read_settings(directory / candidate)
            models = [_last_part(config, "models", item) for item in _listed(config, "models")]
            if name in models or candidate == candidates[0]:
                return config
    training = directory / f"{name}.yml"
    return read_settings(training) if training.is_file() else None


def find_vocabularies(model: Path, decoder: Settings | None) -> tuple[Vocabulary, Vocabulary]:
    """The source's and the target's vocabulary: those that a configuration names, or by name."""
    directory = model.parent
    named = [] if decoder is None else _listed(decoder, "vocabs")
    if decoder is None or not named:
        paths = _by_pattern(directory)
    elif len(named) == 2:
        paths = _beside(decoder, named[0]), _beside(decoder, named[1])
    else:
        raise UnsupportedModelError(
            f"{decoder.path}: {len(named)} vocabularies; only one source and one target are "
            "supported"
        )
    source, target = (_vocabulary(path) for path in paths)
    # OPUS-MT cuts text with a sentencepiece model of each language, and looks up the pieces.
    pieces = directory / "source.spm", directory / "target.spm"
    if source.pieces is None and target.pieces is None and all(item.is_file() for item in pieces):
        return Vocabulary(pieces[0], source.tokens), Vocabulary(pieces[1], target.tokens)
    if source.pieces is None and (directory / "source.bpe").is_file():
        warnings.warn(
            f"{directory}: source.bpe and target.bpe are not applied; as Marian itself, this model "
            "takes and gives tokens with blanks between them",
            stacklevel=2,
        )
    return source, target


def _vocabulary(path: Path) -> Vocabulary:
    if path.suffix == ".fsv":
        raise UnsupportedModelError(f"{path}: vocabularies with factors are not supported")
    return Vocabulary(path, None) if path.suffix == ".spm" else Vocabulary(None, path)


def _by_pattern(directory: Path) -> tuple[Path, Path]:
    for patterns in _VOCABULARIES:
        source, target = (sorted(directory.glob(pattern)) for pattern in patterns)
        if len(source) == len(target) == 1:
            return source[0], target[0]
    names = sorted(
        {item.name for pattern in ("*.spm", "*.yml") for item in directory.glob(pattern)}
    )
    raise CheckpointError(
        f"{directory}: cannot tell the model's vocabularies from {', '.join(names) or 'no files'}; "
        "expected vocab.spm, or srcvocab.spm and trgvocab.spm, or a decoder.yml that names them"
    )


def _listed(config: Settings, key: str) -> Sequence[object]:
    value = config.get(key)
    return value if isinstance(value, list) else [] if value is None else [value]


def _beside(config: Settings, name: object) -> Path:
    path = config.path.parent / _last_part(config, "vocabs", name)
    if not path.is_file():
        raise CheckpointError(f"{config.path}: names {path.name!r}, which is not beside it")
    return path


def _last_part(config: Settings, key: str, name: object) -> str:
    last = str(name).replace("\\", "/").rpartition("/")[2]
    if not isinstance(name, str) or last in ("", ".", "..") or "\0" in last:
        raise config.error(key, "names of files")
    return last
