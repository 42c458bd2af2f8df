"""A model that was opened, the engine that runs it, and what there is to know about both."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, ClassVar

from pytransformer import _native
from pytransformer.model_files import open_model
from pytransformer.model_spec import Architecture, Checkpoint
from pytransformer.pending import CompletionWatcher
from pytransformer.settings import EngineSettings
from pytransformer.tokenizers import Tokenizer

if TYPE_CHECKING:
    import numpy.typing as npt
    from typing_extensions import Self


class EngineOwner:
    """What translators, generators and encoders have in common."""

    # What the model must be.
    _ARCHITECTURE: ClassVar[Architecture]

    def __init__(
        self, model: str | os.PathLike[str] | Checkpoint | None, settings: EngineSettings
    ) -> None:
        self._settings = settings
        # Where the process goes later must not change what a pickled owner opens.
        self._is_made = isinstance(model, Checkpoint)
        self._path = (
            None
            if model is None or isinstance(model, Checkpoint)
            else os.path.abspath(os.fspath(model))
        )
        # What is computed here must not depend on how the caller's thread rounds.
        with _native.DefaultFloatEnvironment():
            self._model = open_model(model, settings.compute_type, self._ARCHITECTURE)
        cores_per_worker = _native.available_threads() // settings.inter_threads
        self._engine = _native.Engine(
            self._model.native,
            settings.inter_threads,
            settings.intra_threads or max(1, cores_per_worker),
            max_memory=settings.max_memory,
        )
        self._watcher = CompletionWatcher()

    @classmethod
    def from_state_dict(
        cls,
        config: Mapping[str, Any],
        tensors: Mapping[str, npt.NDArray[Any]],
        *,
        files: Mapping[str, bytes] | None = None,
        **settings: Any,
    ) -> Self:
        """Opens a model that is in memory.

        Args:
            config: what the model is: the contents of a Hugging Face config.json, or the
                description of a PyTorch model (docs/checkpoints.md).
            tensors: its weights by the names of its state dict, as arrays of floats.
            files: its tokenizer's files by name, as they would lie beside it.
            **settings: as for the constructor, such as `compute_type`.

        Raises:
            CheckpointError: config, tensors or files are incomplete or contradict each other.
            UnsupportedModelError: the engine does not compute such a model.
        """
        from pytransformer.loaders.memory import load_from_memory

        owner: Any = cls
        opened: Self = owner(load_from_memory(config, tensors, files), **settings)
        return opened

    @property
    def tokenizer(self) -> Tokenizer:
        """Turns text into tokens and ids, and back."""
        return self._model.tokenizer

    @property
    def model_path(self) -> str:
        """Path of the model."""
        return self._model.path

    @property
    def family(self) -> str:
        """Family of the model, such as "marian"."""
        return self._model.family

    @property
    def num_parameters(self) -> int:
        """Number of weights, those that pad rows to whole registers included."""
        return self._model.native.num_parameters

    @property
    def compute_type(self) -> str:
        """Number format of the matrices, or of most of them."""
        return self._model.native.compute_type

    @property
    def isa(self) -> str:
        """Instruction set in use, such as "avx2"."""
        return self._engine.isa

    @property
    def inter_threads(self) -> int:
        """Number of workers."""
        return self._engine.inter_threads

    @property
    def intra_threads(self) -> int:
        """Threads of each worker."""
        return self._engine.intra_threads

    @property
    def max_memory(self) -> int:
        """Bytes that the work may take, beside the model; 0 for no limit."""
        return self._engine.max_memory

    @property
    def weights_in_memory(self) -> int:
        """Bytes of weights in this process's own memory, which `max_memory` does not count.

        0 where the model's file is mapped, and so shared with other processes; what is converted
        when it is opened, or comes from another format, is in memory.
        """
        native = self._model.native
        return 0 if native.is_mapped else native.size_bytes

    def __repr__(self) -> str:
        return (
            f"{type(self).__name__}({self.model_path!r}, compute_type={self.compute_type!r}, "
            f"inter_threads={self.inter_threads}, intra_threads={self.intra_threads})"
        )

    def __reduce__(self) -> Any:
        """Pickles path and settings, not weights: whoever opens it needs the same files."""
        if self._is_made:
            raise TypeError(
                "a model made in memory cannot be pickled; write it to a file by "
                "pytransformer.native.write and open that"
            )
        return _reopen, (type(self), self._path, self._arguments())

    def _arguments(self) -> dict[str, Any]:
        """What opens the same model in the same way, besides its path."""
        return dataclasses.asdict(self._settings)


def _reopen(kind: type[Any], path: str | None, arguments: dict[str, Any]) -> EngineOwner:
    owner: EngineOwner = kind(path, **arguments)
    return owner
