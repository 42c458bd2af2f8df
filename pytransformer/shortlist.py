"""Lexical shortlists: which target tokens a sentence may need, as Marian stores and selects them.

A shortlist names for every source token the target tokens that translate it most often. The
decoder then computes its output layer for some thousand tokens instead of the whole vocabulary
(docs/shortlists.md). Rules and file forms are those of Marian's `src/data/shortlist.cpp`
(https://github.com/marian-nmt/marian-dev), compared with pymarian 1.12.42.
"""

from __future__ import annotations

import contextlib
import gzip
import os
from array import array
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import BinaryIO, cast

import numpy as np
import numpy.typing as npt

from pytransformer.errors import CheckpointError, OptionError
from pytransformer.packed_files import open_unpacked

_MAGIC = 0xF11A48D5013417F5
_HEADER_BYTES = 48
# Magic and checksum, which the checksum does not cover.
_UNCHECKED_BYTES = 16
_READ_BYTES = 1 << 20
# Tokens are short: a longer line is no line of a shortlist, and must not fill the memory.
_MOST_LINE_BYTES = 1 << 16
# Marian's word for "no word", on either side.
_NULL = "NULL"
# The number of selected tokens is a multiple of it, for the sake of Marian's integer products.
_MULTIPLE = 8


@dataclass(frozen=True, eq=False)
class LexicalShortlist:
    """The best target tokens of every source token.

    Attributes:
        first: how many target ids, from 0 on, every selection holds.
        best: how many target ids a source token has at most.
        target_size: size of the target vocabulary.
        offsets: `[source_size + 1]`, where the list of each source token begins in `targets`.
        targets: target ids, ascending within the list of a source token.
    """

    first: int
    best: int
    target_size: int
    offsets: npt.NDArray[np.int64]
    targets: npt.NDArray[np.uint32]

    def __post_init__(self) -> None:
        self.offsets.flags.writeable = False
        self.targets.flags.writeable = False

    @classmethod
    def load(
        cls,
        path: str | os.PathLike[str],
        source_id: Callable[[str], int | None],
        target_id: Callable[[str], int | None],
        *,
        source_size: int,
        target_size: int,
        first: int = 100,
        best: int = 100,
    ) -> LexicalShortlist:
        """Reads Marian's text form or its binary form, gzipped or not, by the first bytes.

        Args:
            path: the file.
            source_id: the id of a source token; None skips the lines that name it. Marian gives
                unknown tokens the id of <unk>.
            target_id: the same for a target token.
            source_size: size of the source vocabulary.
            target_size: size of the target vocabulary.
            first: how many target ids, from 0 on, every selection holds. The binary form says it
                itself.
            best: how many target ids to keep for each source token, by probability; of equal ones
                Marian prefers the highest id. The binary form holds the best ones only.

        Raises:
            CheckpointError: the file is damaged or of another kind, or does not fit the
                vocabularies; names it, the line or part, and what would be right.
            OptionError: `first` or `best` is negative.
            OSError: the file cannot be read.
        """
        for name, value in (("first", first), ("best", best)):
            if value < 0:
                raise OptionError(f"{name} is {value}, expected 0 or more")
        name = os.fsdecode(path)
        sizes = (source_size, target_size)
        with open_unpacked(name, CheckpointError) as stream:
            if stream.read(8) == _MAGIC.to_bytes(8, "little"):
                stream.seek(0)
                return cls(*_read_binary(name, stream, *sizes))
            stream.seek(0)
            table = _Table(name, source_id, target_id, sizes)
            for number, line in _lines(name, stream):
                table.add(number, line)
        return cls(first, best, target_size, *table.best(best))

    def tokens(self, source: Sequence[int], *, shared_vocabulary: bool) -> list[int]:
        """The target ids to which a sentence's translation is confined, as Marian selects them.

        Args:
            source: ids of the source tokens; Marian counts the end token among them.
            shared_vocabulary: whether both sides have one vocabulary; source tokens may then stand
                in the translation as they are.

        Returns:
            Sorted ids without repetition: the first ones, the best ones of every source token, the
            source tokens if the vocabulary is shared, and then the next ids from `first` on, until
            there are a multiple of 8 or no more.

        Raises:
            OptionError: an id is not in the vocabulary.
        """
        chosen = np.zeros(self.target_size, np.bool_)
        chosen[: self.first] = True
        limit = len(self.offsets) - 1
        if shared_vocabulary:
            limit = min(limit, self.target_size)
        for token in set(source):
            if not 0 <= token < limit:
                raise OptionError(f"source id {token}: expected one from 0 to {limit - 1}")
            chosen[self.targets[self.offsets[token] : self.offsets[token + 1]]] = True
            if shared_vocabulary:
                chosen[token] = True
        lacking = -int(np.count_nonzero(chosen)) % _MULTIPLE
        if lacking:
            rest = chosen[self.first :]
            rest[np.flatnonzero(~rest)[:lacking]] = True
        return cast("list[int]", np.flatnonzero(chosen).tolist())


def write_text(
    path: str | os.PathLike[str], entries: Iterable[tuple[str, str, float]], *, level: int = 6
) -> int:
    """Writes Marian's text form, which appears when it is complete.

    Args:
        path: the file; if its name ends in .gz, it is compressed.
        entries: target token, source token and probability, in the order of the lines.
        level: how hard to compress, 0 to 9.

    Returns:
        How many lines were written. A token that is empty, is NULL or holds white space has no
        place in this form; its entries are left out.

    Raises:
        OSError: the file cannot be written; nothing is left of it.
    """
    name = os.fsdecode(path)
    temporary = f"{name}.{os.getpid()}.tmp"
    count = 0
    try:
        with open(temporary, "wb") as file, contextlib.ExitStack() as stack:
            output: BinaryIO = file
            if name.endswith(".gz"):
                # Neither name nor time: the same table gives the same bytes.
                packed = gzip.GzipFile("", "wb", level, file, mtime=0)
                output = cast("BinaryIO", stack.enter_context(packed))
            for target, source, probability in entries:
                if _has_form(target) and _has_form(source):
                    output.write(f"{target} {source} {probability:.6g}\n".encode())
                    count += 1
        os.replace(temporary, name)
    finally:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(temporary)
    return count


def _has_form(token: str) -> bool:
    # As bytes, for which white space is that of C: pieces may hold other white space of Unicode.
    return token != _NULL and token.encode().split() == [token.encode()]


# --- the text form -----------------------------------------------------------------------------


def _lines(name: str, stream: BinaryIO) -> Iterator[tuple[int, bytes]]:
    """Numbers and lines."""
    number = 0
    while line := stream.readline(_MOST_LINE_BYTES):
        number += 1
        if len(line) == _MOST_LINE_BYTES:
            raise CheckpointError(
                f"{name}, line {number}: longer than {_MOST_LINE_BYTES} bytes; {_EXPECTED}"
            )
        yield number, line


_EXPECTED = "expected a shortlist of Marian, `target source probability` in each line"


class _Table:
    """Gathers the lines of the text form: ids and probabilities in flat arrays."""

    def __init__(
        self,
        name: str,
        source_id: Callable[[str], int | None],
        target_id: Callable[[str], int | None],
        sizes: tuple[int, int],
    ) -> None:
        self._name = name
        self._source_size, self._target_size = sizes
        self._sources = _Side("source", source_id, sizes[0])
        self._targets = _Side("target", target_id, sizes[1])
        self._source_ids = array("q")
        self._target_ids = array("q")
        # Marian's precision: what is equal in it is equal to Marian.
        self._probabilities = array("f")

    def add(self, number: int, line: bytes) -> None:
        """Takes one line; the fields are separated by C's white space, as Marian reads them."""
        fields = line.split()
        if not fields:
            return
        try:
            if len(fields) != 3:
                line.decode()  # of another encoding, that is the fault to tell
                raise CheckpointError(f"has {len(fields)} fields; {_EXPECTED}")
            target, source = self._targets.id(fields[0]), self._sources.id(fields[1])
            probability = _probability(fields[2])
        except UnicodeDecodeError as error:
            raise CheckpointError(
                f"{self._name}, line {number}: byte 0x{error.object[error.start]:02x} is not "
                "UTF-8 text; expected a text in UTF-8"
            ) from None
        except CheckpointError as error:
            raise CheckpointError(f"{self._name}, line {number}: {error}") from None
        if target is not None and source is not None:
            self._target_ids.append(target)
            self._source_ids.append(source)
            self._probabilities.append(probability)

    def best(self, count: int) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.uint32]]:
        """Offsets `[source_size + 1]` and the best target ids of each source token, ascending."""
        if not self._source_ids:
            raise CheckpointError(
                f"{self._name}: holds no pair of tokens that the vocabularies know; {_EXPECTED}"
            )
        sources = np.frombuffer(self._source_ids, np.int64)
        targets = np.frombuffer(self._target_ids, np.int64)
        probabilities = np.frombuffer(self._probabilities, np.float32)
        # A pair that stands in several lines has the highest of its probabilities.
        order = np.lexsort((-probabilities, targets, sources))
        sources, targets = sources[order], targets[order]
        again = (sources[1:] == sources[:-1]) & (targets[1:] == targets[:-1])
        once = np.concatenate(([True], ~again))
        sources, targets, probabilities = sources[once], targets[once], probabilities[order][once]

        order = np.lexsort((-targets, -probabilities, sources))
        rank = np.arange(sources.size) - np.searchsorted(sources, sources)
        kept = order[rank < count]
        kept = kept[np.lexsort((targets[kept], sources[kept]))]
        sizes = np.bincount(sources[kept], minlength=self._source_size)
        offsets = np.concatenate(([0], np.cumsum(sizes)))
        return offsets.astype(np.int64), targets[kept].astype(np.uint32)


class _Side:
    """Ids of one side's tokens, each looked up once."""

    def __init__(self, side: str, find: Callable[[str], int | None], size: int) -> None:
        self._side = side
        self._find = find
        self._size = size
        self._known: dict[bytes, int] = {}

    def id(self, field: bytes) -> int | None:
        known = self._known.get(field)
        if known is not None:
            return known
        token = field.decode()
        found = None if token == _NULL else self._find(token)
        if found is None:
            return None
        if not 0 <= found < self._size:
            raise CheckpointError(
                f"{self._side} token {token!r} has the id {found}; expected one below "
                f"{self._size}, the size of the vocabulary"
            )
        self._known[field] = found
        return found


def _probability(field: bytes) -> float:
    try:
        value = float(field)
    except ValueError:
        value = -1.0
    if not 0 <= value <= 1:  # nor is NaN
        raise CheckpointError(
            f"{field.decode(errors='replace')[:40]!r} is no probability; expected a number from "
            "0 to 1"
        )
    return value


# --- the binary form ---------------------------------------------------------------------------


def _read_binary(
    name: str, stream: BinaryIO, source_size: int, target_size: int
) -> tuple[int, int, int, npt.NDArray[np.int64], npt.NDArray[np.uint32]]:
    """The fields of a LexicalShortlist; all numbers in the file are little-endian."""
    header = stream.read(_HEADER_BYTES)
    if len(header) < _HEADER_BYTES:
        raise CheckpointError(
            f"{name}: cut short, {len(header)} bytes; its header has {_HEADER_BYTES}"
        )
    words = cast("list[int]", np.frombuffer(header, "<u8").tolist())
    _, checksum, first, best, num_offsets, num_ids = words
    if num_offsets != source_size + 1:
        raise CheckpointError(
            f"{name}: made for a source vocabulary of {num_offsets - 1} tokens; expected "
            f"{source_size}, as the model has"
        )
    ids_start = 8 * num_offsets
    body = _read_at_most(stream, ids_start + 4 * num_ids + 1)
    if len(body) != ids_start + 4 * num_ids:
        fault = "cut short" if len(body) < ids_start + 4 * num_ids else "too long"
        raise CheckpointError(
            f"{name}: {fault}; its header promises {_HEADER_BYTES + ids_start + 4 * num_ids} bytes"
        )
    if _checksum(header[_UNCHECKED_BYTES:] + body) != checksum:
        raise CheckpointError(f"{name}: damaged, its checksum is not {checksum:#x} as stored")
    offsets = np.frombuffer(body, "<u8", num_offsets)
    targets = np.frombuffer(body, "<u4", num_ids, ids_start)
    if offsets[0] != 0 or offsets[-1] != num_ids or np.any(offsets[1:] < offsets[:-1]):
        raise CheckpointError(
            f"{name}: its offsets should rise from 0 to {num_ids}, the number of ids"
        )
    if targets.size and int(targets.max()) >= target_size:
        raise CheckpointError(
            f"{name}: holds the target id {targets.max()}; expected ids below {target_size}, the "
            "size of the vocabulary"
        )
    return first, best, target_size, offsets.astype(np.int64), targets.astype(np.uint32, copy=False)


def _read_at_most(stream: BinaryIO, limit: int) -> bytes:
    """The next bytes of a stream; memory grows with what is there, not with `limit`."""
    parts: list[bytes] = []
    while limit > 0 and (part := stream.read(min(limit, _READ_BYTES))):
        parts.append(part)
        limit -= len(part)
    return b"".join(parts)


def _checksum(data: bytes) -> int:
    """Marian's hash of the 64-bit words in `data`; bytes after the last whole word do not count."""
    mask, state = (1 << 64) - 1, 0
    for word in cast("list[int]", np.frombuffer(data, "<u8", len(data) // 8).tolist()):
        state ^= (word + 0x9E3779B9 + (state << 6) + (state >> 2)) & mask
    return state
