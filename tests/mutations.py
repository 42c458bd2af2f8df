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
_HOLE, _NOTHING = "\0 a hole \0", object()


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
    old = value
    for key in place:
        old = old[key]
    hole, new = json.dumps(_HOLE), generator.choice(HOSTILE_JSON)
    kind = generator.randrange(6)
    if kind == 0 and place and isinstance(place[-1], str):
        new = f"1, {json.dumps(place[-1])}: {new}"  # the same key twice
    elif kind == 1 and place:
        return json.dumps(_put(value, place, _NOTHING))
    elif kind == 2:
        others = [[old], [old, old], {"x": old}, str(old), not old]
        return json.dumps(_put(value, place, generator.choice(others)))
    elif kind == 3 and type(old) in (int, float):
        numbers = [old + 1, old - 1, 2 * old, -old, old + 0.5, 1000 * old]
        return json.dumps(_put(value, place, generator.choice(numbers)))
    return json.dumps(_put(value, place, _HOLE)).replace(hole, new)


def _put(value: Any, place: tuple[Any, ...], new: Any) -> Any:
    """A copy of a value with another one at a place, or with nothing there."""
    if not place:
        return new
    copy = value.copy()
    if len(place) == 1 and new is _NOTHING:
        del copy[place[0]]
    else:
        copy[place[0]] = _put(copy[place[0]], place[1:], new)
    return copy
