"""Damaged copies of a file, for tests that readers answer damage with their own errors only."""

from __future__ import annotations

import json
import random
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

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


# What stands in for a value in :func:`json_mutants`, as it is written.
_NUMBERS = (
    "0", "-1", "1", "2.5", "65536", "2147483648", "9223372036854775808", "1e30", "1e400", "-1e400",
    "NaN", "-Infinity", "9" * 400, "9" * 5000,
)  # fmt: skip
_TEXTS = ("", "x", "a" * 100_000, "\\ud800", "\\u0000", "../x", "/dev/zero", "a\\nb", "relu")
_DEPTHS = (60, 500, 900, 970, 100_000)
HOSTILE_JSON = (
    "null",
    "true",
    *_NUMBERS,
    *(f'"{text}"' for text in _TEXTS),
    *("[]", "{}", "[[]]", "[null]", '["x"]', "[1e400]", '{"content": "x"}', '{"0": []}'),
    *("[" * depth + "]" * depth for depth in _DEPTHS),
    *('{"a": ' * depth + "1" + "}" * depth for depth in _DEPTHS),
    "[" + ",".join(["[]"] * 5000) + "]",
)
_HOLE = "\0 a hole \0"


def json_mutants(content: bytes, count: int, seed: int = 0) -> Iterator[bytes]:
    """A JSON file with one value changed; each key of the outermost object once at least."""
    generator = random.Random(seed)
    value = json.loads(content)
    places = list(_places(value))
    outermost = [place for place in places if len(place) == 1]
    generator.shuffle(outermost)
    for i in range(count):
        place = outermost[i] if i < len(outermost) else generator.choice(places)
        yield _changed(value, place, generator).encode("utf-8", "surrogatepass")


def _places(value: Any, place: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    yield place
    items = value.items() if isinstance(value, dict) else ()
    for key, child in enumerate(value) if isinstance(value, list) else items:
        yield from _places(child, (*place, key))


def _changed(value: Any, place: tuple[Any, ...], generator: random.Random) -> str:
    copy = [json.loads(json.dumps(value))]
    parent: Any = copy
    for key in (path := (0, *place))[:-1]:
        parent = parent[key]
    key, old = path[-1], parent[path[-1]]
    parent[key] = _HOLE
    hole = json.dumps(_HOLE)
    kind = generator.randrange(6)
    if kind == 0 and isinstance(parent, dict):
        name = json.dumps(key)
        return json.dumps(copy[0]).replace(hole, f"1, {name}: {generator.choice(HOSTILE_JSON)}")
    if kind == 1 and place:
        del parent[key]
    elif kind == 2:
        parent[key] = generator.choice([[old], [old, old], {"x": old}, str(old), not old])
    elif kind == 3 and type(old) in (int, float):
        parent[key] = generator.choice([old + 1, old - 1, 2 * old, -old, old + 0.5, 1000 * old])
    return json.dumps(copy[0]).replace(hole, generator.choice(HOSTILE_JSON))
