"""What is translated: real text, a file's lines, or random tokens of as many lengths."""

from __future__ import annotations

import gzip
import itertools
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pytransformer.errors import OptionError
from pytransformer.options import TranslationOptions

SENTENCES = Path(__file__).parent / "sentences.de.txt"

# A usual rate of sentencepiece models.
_CHARACTERS_PER_TOKEN = 4

Batch = Sequence[Sequence[str]]


@dataclass(frozen=True)
class Workload:
    """Sentences as tokens without end token, and how they are translated.

    Attributes:
        sentences: the tokens of each.
        batch_size: how many go into one call.
        rounds: how often all of them are translated.
        options: all options of the search, the model's defaults filled in.
    """

    sentences: Sequence[Sequence[str]]
    batch_size: int
    rounds: int
    options: TranslationOptions

    @property
    def forced_length(self) -> int | None:
        """The length that every translation must have; None if each ends by itself."""
        return forced_length(self.options)

    @property
    def batches(self) -> list[Batch]:
        """Whole batches: where the sentences do not fill the last one, it starts over with them."""
        count = -(-len(self.sentences) // self.batch_size)
        endless = itertools.cycle(self.sentences)
        return [list(itertools.islice(endless, self.batch_size)) for _ in range(count)]

    @property
    def largest_batch(self) -> Batch:
        """The batch with the most tokens."""
        return max(self.batches, key=lambda batch: sum(map(len, batch)))


def forced_length(options: TranslationOptions) -> int | None:
    """The only length that the options allow; None if there are several."""
    length = options.max_decoding_length
    return length if options.min_decoding_length == length else None


def read_lines(path: Path, limit: int | None = None) -> list[str]:
    """The first lines of a text file, gzipped or not, without those that are empty.

    Raises OSError, or OptionError if no line is left or the text is not UTF-8.
    """
    open_text: Callable[..., Any] = gzip.open if path.suffix == ".gz" else open
    try:
        with open_text(path, "rt", encoding="utf-8") as file:
            lines = list(itertools.islice(filter(None, map(str.strip, file)), limit))
    except UnicodeDecodeError as error:
        raise OptionError(f"{path}: not UTF-8 text: {error.reason}") from None
    except gzip.BadGzipFile:
        raise OptionError(f"{path}: not a gzip file") from None
    if not lines:
        raise OptionError(f"{path}: no sentences")
    return lines


def token_counts(lines: Sequence[str]) -> list[int]:
    """About how many tokens the lines have, for models whose tokens are made up."""
    return [max(1, len(line) // _CHARACTERS_PER_TOKEN) for line in lines]
