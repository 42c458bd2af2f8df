"""Damaged copies of a file, for tests that readers answer damage with their own errors only."""

from __future__ import annotations

import random
from collections.abc import Iterator


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
