"""The engines that ours may be compared with, on the same model and the same sentences.

Each is one :class:`Peer` in a register. Another one joins by :func:`register`; its `prepare` must
be a function at the top of a module, since it is also called in a process of its own.
"""

from __future__ import annotations

import importlib.metadata
import importlib.util
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from pytransformer.benchmark.engines import Opener, PeerModel
from pytransformer.benchmark.peer_ctranslate2 import prepare_ctranslate2
from pytransformer.benchmark.peer_transformers import prepare_transformers
from pytransformer.errors import OptionError


@dataclass(frozen=True)
class Peer:
    """An engine to compare with.

    Attributes:
        name: as the command line calls it; also the distribution whose version is shown.
        packages: what must be importable, itself included.
        prepare: imports and converts what is needed once, and gives what opens the model; raises
            PeerError where the engine cannot run it.
    """

    name: str
    packages: tuple[str, ...]
    prepare: Callable[[PeerModel], Opener]

    @property
    def version(self) -> str:
        """The version of what is installed."""
        try:
            return importlib.metadata.version(self.name)
        except importlib.metadata.PackageNotFoundError:
            return ""


def register(peer: Peer) -> None:
    """Adds a peer, or replaces the one of that name."""
    _PEERS[peer.name] = peer


def names() -> list[str]:
    """The names of all peers."""
    return list(_PEERS)


def find(wanted: Sequence[str]) -> list[Peer]:
    """The peers of these names, each once.

    Raises OptionError for a name that is not known and for a peer that is not installed.
    """
    found = []
    for name in dict.fromkeys(wanted):
        if name not in _PEERS:
            raise OptionError(f"unknown engine {name!r} to compare; known are {', '.join(names())}")
        missing = [p for p in _PEERS[name].packages if importlib.util.find_spec(p) is None]
        if missing:
            raise OptionError(
                f"comparing with {name} needs {', '.join(missing)}: pip install {' '.join(missing)}"
            )
        found.append(_PEERS[name])
    return found


_PEERS = {
    peer.name: peer
    for peer in (
        Peer("ctranslate2", ("ctranslate2", "transformers", "torch"), prepare_ctranslate2),
        Peer("transformers", ("transformers", "torch"), prepare_transformers),
    )
}
