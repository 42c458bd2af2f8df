"""What CTranslate2's classes have in common: a model, its workers and its place."""

from __future__ import annotations

import os
import threading
import weakref
from collections.abc import Mapping
from typing import Any, Generic, Protocol, TypeVar

from pytransformer.ctranslate2.devices import (
    check_device,
    check_device_indices,
    effective_compute_type,
    our_compute_type,
)
from pytransformer.ctranslate2.loaded_model import Threads, file_contents
from pytransformer.pending import Pending


class Opened(Protocol):
    """A model that was opened."""

    @property
    def compute_type(self) -> str: ...


M = TypeVar("M", bound=Opened)


class ModelOwner(Generic[M]):
    """Opens a model, unloads it and opens it again."""

    def __init__(
        self,
        model_path: str,
        device: str = "cpu",
        *,
        device_index: int | list[int] = 0,
        compute_type: str | Mapping[str, str] = "default",
        inter_threads: int = 1,
        intra_threads: int = 0,
        max_queued_batches: int = 0,
        flash_attention: bool = False,
        tensor_parallel: bool = False,
        files: Any = None,
    ) -> None:
        """Opens a model.

        Args:
            model_path: a translation model's directory of CTranslate2's, or any model's that a
                converter here has written.
            device: "cpu", or "auto", which is the same.
            device_index: 0, or several zeros, which are as many sets of workers.
            compute_type: "default", "auto", "float32", "bfloat16", "int8" or "int8_float32", or
                one of them for each device by its name.
            inter_threads: workers, which share one copy of the weights.
            intra_threads: threads of each worker; 0 shares out the cores.
            max_queued_batches: accepted for CTranslate2's sake; calls never wait for a place.
            flash_attention: must be False.
            tensor_parallel: must be False.
            files: the model's files in memory, as bytes or as something to read, by name;
                `model_path` is then a name and no more.

        Raises:
            ValueError: an unknown device or compute type, or an impossible number.
            RuntimeError: the model cannot be opened, or a GPU was asked for.
            TypeError: `files` is no dictionary of files.
        """
        del max_queued_batches
        self._device = check_device(device)
        indices = [device_index] if isinstance(device_index, int) else list(device_index)
        self._device_index = check_device_indices(indices)
        if inter_threads < 1 or intra_threads < 0:
            raise ValueError(
                f"inter_threads is {inter_threads} and intra_threads {intra_threads}, expected at "
                "least 1 and 0"
            )
        if flash_attention:
            raise ValueError("FlashAttention only supports Ampere GPUs or newer.")
        if tensor_parallel:
            raise ValueError("Tensor Parallel mode can run only on cuda")
        self._threads = Threads(inter_threads * len(self._device_index), intra_threads)
        self._wanted_type = our_compute_type(compute_type, device)
        self._path = os.fspath(model_path)
        self._files = None if files is None else file_contents(files)
        self._lock = threading.Lock()
        self._queued: weakref.WeakSet[Pending] = weakref.WeakSet()
        self._model: M | None = None
        self.load_model()

    @property
    def device(self) -> str:
        """Where the model is: "cpu"."""
        return self._device

    @property
    def device_index(self) -> list[int]:
        """As many zeros as there are sets of workers."""
        return self._device_index

    @property
    def compute_type(self) -> str:
        """What the model computes in; RuntimeError while it is unloaded."""
        return effective_compute_type(self._loaded().compute_type)

    @property
    def tensor_parallel(self) -> bool:
        """False."""
        return False

    @property
    def num_active_batches(self) -> int:
        """Calls, or sentences of asynchronous ones, that are queued or at work."""
        return sum(not pending.done() for pending in list(self._queued))

    @property
    def num_queued_batches(self) -> int:
        """Those of them that are more than there are workers."""
        return max(0, self.num_active_batches - self._threads.workers)

    @property
    def model_is_loaded(self) -> bool:
        """Whether the model is there."""
        return self._model is not None

    def unload_model(self, to_cpu: bool = False) -> None:
        """Lets the model go, unless it is at work; a model that stays on the CPU stays."""
        with self._lock:
            if not to_cpu and self.num_active_batches == 0:
                self._model = None

    def load_model(self, keep_cache: bool = False) -> None:
        """Opens the model again; `keep_cache` has no meaning on the CPU."""
        del keep_cache
        with self._lock:
            if self._model is None:
                self._model = self._open()

    def _open(self) -> M:
        """Reads the model; raises ModelError if it cannot be opened."""
        raise NotImplementedError

    def _loaded(self) -> M:
        model = self._model
        if model is None:
            raise RuntimeError("The model for this translator was unloaded")
        return model
