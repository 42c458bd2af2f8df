"""One benchmark, from its settings to its result."""

from __future__ import annotations

import functools
import hashlib
import os
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import pytransformer
from pytransformer.benchmark import footprint, machine, measure, stages
from pytransformer.benchmark.checkpoint_files import make_once
from pytransformer.benchmark.engines import Engine, Opener, Ours, PeerModel, PrepareOurs
from pytransformer.benchmark.footprint import Footprint, describe
from pytransformer.benchmark.machine import Machine
from pytransformer.benchmark.measure import Notify, Timings
from pytransformer.benchmark.native_to_huggingface import write_directory
from pytransformer.benchmark.peers import Peer
from pytransformer.benchmark.random_checkpoint import find_shape, random_sentences, write_checkpoint
from pytransformer.benchmark.stages import Stage
from pytransformer.benchmark.workload import SENTENCES, Workload, read_lines, token_counts
from pytransformer.decoding import resolve
from pytransformer.model_files import OpenModel

OURS = "pytransformer"

# With random weights nothing ends a sentence but its length.
_RANDOM_LENGTH = 32


@dataclass(frozen=True)
class Settings:
    """What to measure, and how.

    Attributes:
        model: path of a checkpoint or native file; None means the bundled model.
        shape: name of a shape to fill with random weights, instead of a model.
        compute_type: as in :class:`pytransformer.Translator`.
        threads: threads to use; 0 means all cores that this process may use.
        batch_size: sentences in one call.
        beam_size: None means the checkpoint's default.
        length: tokens of every translation; None lets real models end by themselves.
        sentences: a file with a sentence in each line; None means the text in the package.
        limit: use only so many of the sentences.
        rounds: how often all sentences are translated.
        peers: engines to compare with.
        cache: a folder that keeps what is made for the benchmark; None means a temporary one.
    """

    model: str | None = None
    shape: str | None = None
    compute_type: str = "default"
    threads: int = 0
    batch_size: int = 1
    beam_size: int | None = None
    length: int | None = None
    sentences: Path | None = None
    limit: int | None = None
    rounds: int = 5
    peers: Sequence[Peer] = ()
    cache: Path | None = None


@dataclass(frozen=True)
class EngineResult:
    """What one engine achieved; without timings, `error` says why."""

    name: str
    version: str
    compute_type: str = ""
    footprint: Footprint | None = None
    timings: Timings | None = None
    error: str | None = None


@dataclass(frozen=True)
class ModelFacts:
    """The model that was measured; `path` is None for one of random weights."""

    title: str
    path: str | None
    family: str
    compute_type: str
    parameters: int
    size_bytes: int


@dataclass(frozen=True)
class Result:
    """All that a benchmark finds out.

    Attributes:
        machine: the machine's limits.
        model: the model.
        workload: what was translated.
        engines: pytransformer, then the peers as they were asked for.
        stages: where pytransformer's time went.
        counts: the engine's own counters over all rounds.
    """

    machine: Machine
    model: ModelFacts
    workload: Workload
    engines: Sequence[EngineResult]
    stages: Sequence[Stage]
    counts: Mapping[str, float]

    @property
    def ours(self) -> EngineResult:
        """What pytransformer achieved."""
        return self.engines[0]


def run(settings: Settings, notify: Notify = lambda _: None) -> Result:
    """Runs a benchmark; `notify` is told what happens.

    Raises:
        PytransformerError: the model, an option or a file is wrong.
        OSError: a file cannot be read or written.
    """
    with tempfile.TemporaryDirectory(prefix="pytransformer-bench-") as scratch:
        kept = settings.cache or Path(scratch)
        model = settings.model
        if settings.shape is not None:
            notify("making a model of random weights")
            model = str(_random_model(settings.shape, kept))
        notify("opening the model")
        prepare = PrepareOurs(model, settings.compute_type, settings.threads)
        ours = prepare.open()
        workload = _workload(settings, ours)
        return _Bench(settings, kept, ours, workload, notify).run(prepare)


class _Bench:
    """The parts of a run, which all need the same things."""

    def __init__(
        self,
        settings: Settings,
        cache: Path,
        ours: Ours,
        workload: Workload,
        notify: Notify,
    ) -> None:
        self._settings = settings
        self._path = Path(ours.translator.model_path)
        self._cache = _cache_folder(self._path, cache)
        self._ours = ours
        self._workload = workload
        self._notify = notify
        self._engines: dict[str, Engine] = {OURS: ours}
        self._footprints: dict[str, Footprint] = {}
        self._errors: dict[str, str] = {}

    def run(self, prepare: PrepareOurs) -> Result:
        before = self._measure_machine()
        self._footprints[OURS] = self._footprint(OURS, prepare)
        for peer in self._settings.peers:
            self._open_peer(peer)
        engine = self._ours.translator._engine
        timings, errors = measure.time_in_turn(
            self._engines, self._workload, engine.start_profile, self._notify
        )
        counts = engine.read_profile()
        self._errors.update({name: describe(error) for name, error in errors.items()})
        limits = before.best(self._measure_machine())
        return Result(
            machine=limits,
            model=self._facts(),
            workload=self._workload,
            engines=[self._result(name, version, timings) for name, version in self._versions()],
            stages=stages.analyse(
                self._model.spec,
                self._ours.compute_type,
                limits,
                counts,
                timings[OURS].total_seconds,
            ),
            counts=counts,
        )

    @property
    def _model(self) -> OpenModel:
        return self._ours.translator._model

    def _measure_machine(self) -> Machine:
        self._notify("measuring the machine")
        translator = self._ours.translator
        size = stages.weights(self._model.spec).size_bytes(translator.compute_type)
        return machine.measure(translator.isa, translator.intra_threads, size)

    def _footprint(self, name: str, prepare: Callable[[], Opener]) -> Footprint:
        self._notify(f"measuring load time and memory of {name}")
        return footprint.measure(prepare, self._workload.largest_batch, self._workload.options)

    def _open_peer(self, peer: Peer) -> None:
        """Whatever goes wrong in a peer is told in its line of the result."""
        self._notify(f"opening the model with {peer.name}")
        try:
            request = PeerModel(
                self._huggingface_directory(),
                self._cache,
                self._ours.compute_type,
                self._ours.translator.intra_threads,
            )
            prepare = functools.partial(peer.prepare, request)
            engine = prepare()()
            self._footprints[peer.name] = self._footprint(peer.name, prepare)
            self._engines[peer.name] = engine
        except Exception as error:
            self._errors[peer.name] = describe(error)

    def _huggingface_directory(self) -> Path:
        """The model as other engines can read it."""
        if self._path.is_dir():
            return self._path
        directory = self._cache / "huggingface"
        make_once(directory, lambda out: write_directory(self._path, out))
        return directory

    def _versions(self) -> list[tuple[str, str]]:
        peers = [(peer.name, peer.version) for peer in self._settings.peers]
        return [(OURS, pytransformer.__version__), *peers]

    def _result(self, name: str, version: str, timings: Mapping[str, Timings]) -> EngineResult:
        if name not in timings:
            return EngineResult(name, version, error=self._errors[name])
        compute_type = self._engines[name].compute_type
        return EngineResult(name, version, compute_type, self._footprints[name], timings[name])

    def _facts(self) -> ModelFacts:
        path, shape = self._model.path, self._settings.shape
        title = f"bundled {self._path.parent.name}" if self._settings.model is None else path
        return ModelFacts(
            title=title if shape is None else f"random weights, shape {shape}",
            path=path if shape is None else None,
            family=self._model.family,
            compute_type=self._ours.compute_type,
            parameters=self._model.native.num_parameters,
            size_bytes=self._model.native.size_bytes,
        )


def _random_model(name: str, cache: Path) -> Path:
    shape = find_shape(name)
    directory = cache / name / "huggingface"
    make_once(directory, lambda out: write_checkpoint(shape, out))
    return directory


def _cache_folder(model: Path, cache: Path) -> Path:
    """A folder for what is made of this model; another one, or a changed one, gets another."""
    digest = hashlib.sha256(os.fsencode(model.resolve()))
    for file in [model, *(sorted(model.iterdir()) if model.is_dir() else [])]:
        status = file.stat()
        digest.update(f"{file.name} {status.st_size} {status.st_mtime_ns}".encode())
    return cache / f"{model.stem}-{digest.hexdigest()[:12]}"


def _workload(settings: Settings, ours: Ours) -> Workload:
    """Checks all options of the search and cuts the text into tokens."""
    random = settings.shape is not None
    length = _RANDOM_LENGTH if random and settings.length is None else settings.length
    given = {
        "beam_size": settings.beam_size,
        "min_decoding_length": length,
        "max_decoding_length": length,
        "max_batch_size": settings.batch_size,
    }
    options = resolve(given, ours.translator.limits)
    lines = read_lines(settings.sentences or SENTENCES, settings.limit)
    if random:
        vocab_size = ours.translator._model.spec.encoder.vocab_size
        sentences = random_sentences(token_counts(lines), vocab_size)
    else:
        sentences = [ours.translator._model.tokenizer.encode(line) for line in lines]
    return Workload(sentences, settings.batch_size, settings.rounds, options.options)
