"""How much memory a piece of a test takes at its peak."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterator
from pathlib import Path

MEGABYTE = 1 << 20
_STATUS, _RESET = Path("/proc/self/status"), Path("/proc/self/clear_refs")


@contextlib.contextmanager
def memory_within(megabytes: float) -> Iterator[None]:
    """Fails if the process needs that much more than at the beginning, at any time in between.

    Nothing is measured where the system does not let its record of the peak be set back.
    """
    with contextlib.suppress(OSError):
        _RESET.write_text("5")
    before, peak = _memory("VmRSS"), _memory("VmHWM")
    is_measured = peak - before < MEGABYTE
    yield
    if is_measured:
        grown = (_memory("VmHWM") - before) / MEGABYTE
        assert grown <= megabytes, f"took {grown:.0f} MB, expected at most {megabytes}"


def _memory(name: str) -> int:
    with contextlib.suppress(OSError):
        found = re.search(rf"{name}:\s+(\d+) kB", _STATUS.read_text())
        return int(found[1]) * 1024 if found else 0
    return 0
