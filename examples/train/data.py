"""Parallel text as batches of token ids, grouped by length so that little is padding."""

from __future__ import annotations

import gzip
import json
import random
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import sentencepiece
import torch
from torch import Tensor

LANGUAGES = ("de", "en")
CORPORA = ("multi30k", "tatoeba")


@dataclass(frozen=True)
class Pair:
    """A German sentence and its English translation."""

    de: str
    en: str


@dataclass(frozen=True)
class Example:
    """One direction of a pair: the source ids end in `</s>`, as the target ids do."""

    source: list[int]
    target: list[int]


@dataclass(frozen=True)
class Batch:
    """Examples of similar length, padded at the right."""

    source: Tensor
    """`[examples, source length]`."""
    decoder_input: Tensor
    """`[examples, target length]`: the target shifted right behind the start token."""
    target: Tensor
    """`[examples, target length]`."""


def read_lines(path: Path) -> list[str]:
    """The lines of a gzip file of UTF-8 text."""
    with gzip.open(path, "rt", encoding="utf-8", newline="\n") as file:
        return [line.strip() for line in file]


def read_pairs(data: Path, corpus: str, split: str) -> list[Pair]:
    """One split of one corpus: the lines of `<data>/<corpus>/<split>.{de,en}.gz`."""
    german, english = (read_lines(data / corpus / f"{split}.{name}.gz") for name in LANGUAGES)
    return [Pair(de, en) for de, en in zip(german, english, strict=True)]


def read_corpus(data: Path, split: str) -> list[Pair]:
    """One split of all corpora, without repeated pairs."""
    pairs = [pair for corpus in CORPORA for pair in read_pairs(data, corpus, split)]
    return list(dict.fromkeys(pair for pair in pairs if pair.de and pair.en))


def lower(text: str) -> str:
    """The text with a small first letter."""
    return text[0].lower() + text[1:]


def bare(
    pairs: Sequence[Pair], target_language: str, share: float, rng: random.Random
) -> list[Pair]:
    """A random share of the pairs, without their last mark, as people type into a search box.

    Half of the sources begin in lower case, too; targets never do.
    """
    result = []
    for pair in pairs:
        de, en = pair.de.rstrip(".!?"), pair.en.rstrip(".!?")
        if de and en and de != pair.de and en != pair.en and rng.random() < share:
            if rng.random() < 0.5:
                de, en = (de, lower(en)) if target_language == "de" else (lower(de), en)
            result.append(Pair(de, en))
    return result


class Vocabulary:
    """The ids of a tokenizer folder written by `tokenizer.py`."""

    def __init__(self, folder: Path) -> None:
        self._processor = sentencepiece.SentencePieceProcessor(
            model_file=str(folder / "source.spm")
        )
        ids: dict[str, int] = json.loads((folder / "vocab.json").read_text(encoding="utf-8"))
        self.size = len(ids)
        self.end = ids["</s>"]
        self.pad = ids["<pad>"]
        self._prefix = {language: ids[f">>{language}<<"] for language in LANGUAGES}

    def examples(self, pairs: Sequence[Pair], target_language: str) -> list[Example]:
        """The pairs as translations into `target_language`, named by the first source token."""
        german = self._processor.encode([pair.de for pair in pairs])
        english = self._processor.encode([pair.en for pair in pairs])
        sources, targets = (english, german) if target_language == "de" else (german, english)
        prefix = self._prefix[target_language]
        return [
            Example([prefix, *source, self.end], [*target, self.end])
            for source, target in zip(sources, targets, strict=True)
        ]

    def pad_batch(self, examples: Sequence[Example]) -> Batch:
        """A batch of `examples`; the decoder starts with the padding token, as in Marian."""
        starts = [[self.pad, *example.target[:-1]] for example in examples]
        return Batch(
            self._rectangle([example.source for example in examples]),
            self._rectangle(starts),
            self._rectangle([example.target for example in examples]),
        )

    def _rectangle(self, rows: Sequence[list[int]]) -> Tensor:
        width = max(map(len, rows))
        return torch.tensor([row + [self.pad] * (width - len(row)) for row in rows])


def group_by_length(
    examples: Sequence[Example], tokens: int, rng: random.Random
) -> list[list[Example]]:
    """Groups of about `tokens` target tokens each, with padding; in random order.

    Examples of one source length stand together, ordered by target length; ties fall at random.
    """
    order = sorted(examples, key=lambda item: (len(item.source), len(item.target), rng.random()))
    groups: list[list[Example]] = []
    group: list[Example] = []
    width = 0
    for example in order:
        longest = max(width, len(example.source), len(example.target))
        if group and longest * (len(group) + 1) > tokens:
            groups.append(group)
            group, longest = [], max(len(example.source), len(example.target))
        group.append(example)
        width = longest
    groups.append(group)
    rng.shuffle(groups)
    return groups


def training_groups(
    examples: Sequence[Example], tokens: int, epoch: int, workers: int
) -> list[list[Example]]:
    """The groups of one epoch, as many for every worker."""
    groups = group_by_length(examples, tokens, random.Random(epoch))
    return groups[: len(groups) - len(groups) % workers]
