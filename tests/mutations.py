"""Damaged copies of a file, for tests that readers answer damage with their own errors only."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

from pytransformer.errors import CheckpointError


def damaged(content: bytes, count: int, seed: int = 0, reach: int | None = None) -> Iterator[bytes]:
    """Truncations, flipped bits and overwritten bytes within the first `reach` bytes."""
    generator = random.Random(seed)
    reach = min(reach or len(content), len(content))
    for _ in range(count):
        kind = generator.randrange(3)
        if kind == 0:
            yield content[: generator.randrange(reach)]
            continue
        changed = bytearray(content)
        for _ in range(generator.randrange(1, 4)):
            position = generator.randrange(reach)
            if kind == 1:
                changed[position] ^= 1 << generator.randrange(8)
            else:
                changed[position] = generator.randrange(256)
        yield bytes(changed)


def rewritten(path: Path, contents: Iterable[bytes]) -> Iterator[Path]:
    """The same file, with each of the contents; to make thousands of files takes long."""
    with path.open("wb") as file:
        for content in contents:
            file.seek(0)
            file.write(content)
            file.truncate()
            file.flush()
            yield path


def refused(read: Callable[[Path], object], path: Path) -> bool:
    """Whether a file is refused; other errors than ours, and ours without its name, go through."""
    try:
        read(path)
    except CheckpointError as error:
        if str(path) not in str(error):
            raise
        return True
    return False
