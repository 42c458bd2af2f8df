"""The dictionaries of fairseq: `dict.xx.txt`, with a token and its count in each line."""

from __future__ import annotations

from pathlib import Path

from pytransformer.errors import CheckpointError, UnsupportedModelError

# Tokens that every dictionary begins with and no file holds.
_SPECIAL = ("<s>", "<pad>", "</s>", "<unk>")
_OVERWRITE = "#fairseq:overwrite"


def read_dictionary(checkpoint: Path, language: str, side: str) -> list[str]:
    """The tokens of a language in the order of their ids, from the file beside a checkpoint.

    Raises CheckpointError if the file is missing or broken, or if the checkpoint names no language
    (`language` is empty) for a `side`.
    """
    if not language or Path(language).name != language:
        raise CheckpointError(
            f"{checkpoint}: its options give no {side}_lang, so that no dict.xx.txt can be found"
        )
    path = checkpoint.parent / f"dict.{language}.txt"
    if not path.is_file():
        raise CheckpointError(f"{path}: there is no such file, which must lie beside {checkpoint}")
    try:
        lines = path.read_bytes().decode().split("\n")
    except UnicodeDecodeError as error:
        raise CheckpointError(f"{path}: byte {error.start} is not UTF-8 text") from None
    tokens = dict.fromkeys(_SPECIAL)
    for number, line in enumerate(lines, 1):
        if not line and number == len(lines):
            break
        token, _, count = line.rstrip().rpartition(" ")
        if count == _OVERWRITE:
            raise UnsupportedModelError(f"{path}: line {number}: {_OVERWRITE} is not supported")
        if not token or not count.lstrip("-").isdecimal():
            raise CheckpointError(f"{path}: line {number} is not a token and its count")
        if token in tokens:
            raise CheckpointError(f"{path}: line {number}: {token[:40]!r} occurs twice")
        tokens[token] = None
    return list(tokens)
