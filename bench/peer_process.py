"""The other end of `peer_server.py`: an engine in a process of its own."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from types import TracebackType
from typing import Any

from peers.engine import Request, Settings

_SERVER = Path(__file__).with_name("peer_server.py")


class PeerError(RuntimeError):
    """An engine that could not be opened, or that ended before its time."""


@dataclass(frozen=True)
class Answer:
    """What the engine's own call took, and the tokens of each sentence's best hypothesis."""

    seconds: float
    outputs: list[list[str]]

    @property
    def tokens(self) -> int:
        return sum(map(len, self.outputs))

    @property
    def seconds_per_token(self) -> float:
        return self.seconds / self.tokens


class PeerProcess:
    """Opens an engine when it is entered, and ends its process when it is left."""

    def __init__(self, name: str, python: Path | str, settings: Settings) -> None:
        self.name = name
        self.format = settings.format
        paths = {key: str(getattr(settings, key)) for key in ("checkpoint", "models")}
        self._command: Sequence[str] = (
            *(str(python), str(_SERVER), name),
            json.dumps({**asdict(settings), **paths}),
        )
        self._log = settings.models / f"{name}-{settings.format}.log"
        self._process: subprocess.Popen[str] | None = None
        self.version = ""

    def __enter__(self) -> PeerProcess:
        with self._log.open("wb") as log:
            self._process = subprocess.Popen(
                self._command,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                encoding="utf-8",
            )
        self.version = self._answer()["version"]
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        assert self._process is not None
        # At the end of its input it ends by itself; some engines need long to take themselves down.
        self._process.communicate()

    def ask(self, request: Request) -> Answer:
        assert self._process is not None
        assert self._process.stdin is not None
        print(json.dumps(asdict(request)), file=self._process.stdin, flush=True)
        answer = Answer(**self._answer())
        if len(answer.outputs) != len(request.sentences) or not all(answer.outputs):
            raise PeerError(f"{self.name} lost sentences")
        return answer

    def _answer(self) -> dict[str, Any]:
        assert self._process is not None
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            tail = "\n".join(self._log.read_text(errors="replace").splitlines()[-8:])
            raise PeerError(f"{self.name} {self.format} ended; {self._log} says:\n{tail}")
        answer: dict[str, Any] = json.loads(line)
        return answer
