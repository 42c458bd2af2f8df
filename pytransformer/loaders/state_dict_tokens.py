"""The vocabularies and special tokens that the description of a state dict gives."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from pytransformer.errors import CheckpointError
from pytransformer.loaders.huggingface import Settings
from pytransformer.loaders.sentencepiece_file import read_sentencepiece
from pytransformer.loaders.token_lists import TokenLists, checked_tokens, read_token_list

_PIECES = (".model", ".spm")
# What special tokens are called.
_USUAL = {
    "bos": ("<s>", "<bos>", "<sos>", "[BOS]", "[SOS]", "BOS", "SOS"),
    "eos": ("</s>", "<eos>", "[EOS]", "EOS"),
    "unk": ("<unk>", "[UNK]", "UNK"),
}


@dataclass(frozen=True)
class Tokens:
    """Both vocabularies, the ids of the target's special tokens, and what cuts text."""

    source: Sequence[str]
    target: Sequence[str]
    begin_id: int
    end_id: int
    unknown_id: int
    begins_source: bool
    ends_source: bool
    cutters: dict[str, bytes] = field(default_factory=dict)

    def lists(self, start_id: int) -> TokenLists:
        """For a decoder that starts with `start_id`."""
        return TokenLists(
            source=self.source,
            target=self.target,
            unknown=self.target[self.unknown_id],
            begin=self.target[self.begin_id],
            end=self.target[self.end_id],
            start=self.target[start_id],
            ends_source=self.ends_source,
            begins_texts=self.begins_source,
        )


def read_tokens(directory: Path, config: Settings, source_size: int, target_size: int) -> Tokens:
    """The tokens of both sides, from the files of a directory.

    Raises CheckpointError if a file is missing or broken, if a list is longer than the embedding,
    or if it cannot be told which token is special.
    """
    cutters: dict[str, bytes] = {}
    lists = []
    for side, size in (("source", source_size), ("target", target_size)):
        key = f"{side}_vocabulary" if config.get(f"{side}_vocabulary") else "vocabulary"
        tokens = _read_list(directory, config, key, size)
        if Path(config.text(key, "")).suffix in _PIECES:
            cutters[f"{side}.spm"] = (directory / config.text(key, "")).read_bytes()
        lists.append(tokens)
    source, target = lists
    special = {name: _special_id(config, name, target) for name in _USUAL}
    begins = config.flag("source_bos", True)
    ends = config.flag("source_eos", True)
    needed = {"unk": True, "bos": begins, "eos": ends}
    for name, is_needed in needed.items():
        if is_needed and target[special[name]] not in source:
            raise CheckpointError(
                f"{config.path}: the source vocabulary has no {target[special[name]]!r}, which is "
                f"the target's {name}_token_id"
            )
    return Tokens(
        source, target, special["bos"], special["eos"], special["unk"], begins, ends, cutters
    )


def _read_list(directory: Path, config: Settings, key: str, size: int) -> list[str]:
    name = config.text(key, "")
    if not name:
        return [str(token_id) for token_id in range(size)]
    path = directory / name
    if Path(name).name != name or not path.is_file():
        raise config.error(key, f"a file in {directory}")
    if path.suffix in _PIECES:
        tokens = checked_tokens(path, "the model", read_sentencepiece(path).pieces)
    else:
        tokens = read_token_list(path)
    if not 0 < len(tokens) <= size:
        raise CheckpointError(
            f"{path}: {len(tokens)} tokens, but the embedding has {size} rows for them"
        )
    # An embedding may have more rows, for the sake of a round number.
    return [*tokens, *(f"<{token_id}>" for token_id in range(len(tokens), size))]


def _special_id(config: Settings, name: str, target: Sequence[str]) -> int:
    key = f"{name}_token_id"
    if config.get(key) is not None:
        return config.integer(key, 0, maximum=len(target) - 1)
    found = [token for token in _USUAL[name] if token in target]
    if len(found) != 1:
        raise CheckpointError(
            f"{config.path}: {key} is needed, since the target vocabulary has "
            f"{' and '.join(map(repr, found)) or 'no token of a usual name'}"
        )
    return target.index(found[0])
