"""The encoder: what users touch of models that read, and write nothing."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any, overload

from pytransformer import _native
from pytransformer.encoder_inputs import EncoderInput, InputReader
from pytransformer.encoder_results import EncoderOutput, Label, labels_of
from pytransformer.engine_owner import EngineOwner
from pytransformer.errors import OptionError
from pytransformer.inputs import Sentence
from pytransformer.model_spec import Checkpoint
from pytransformer.option_rules import Integer
from pytransformer.pending import AsyncResult, Pending
from pytransformer.settings import EngineSettings, check_settings

if TYPE_CHECKING:
    import numpy.typing as npt

    from pytransformer.pictures import PictureReader

_BATCH = 64  # inputs that are encoded together unless the caller says otherwise
_COUNT = Integer(0, 2**31 - 1)


class Encoder(EngineOwner):
    """Reads texts or pictures with one model; its methods may be called from several threads.

    What comes of an input does not depend on those beside it, on the batch size or on the number of
    threads. Calls that run at the same time share batches. An encoder can be pickled, by its path
    and settings, and used in forked processes.

    Example:
        >>> encoder = pytransformer.Encoder("bert-base-uncased")
        >>> encoder.encode("A dog runs through the snow.").pooler_output.shape
        (1, 768)
    """

    _ARCHITECTURE = "encoder"

    def __init__(
        self,
        model: str | os.PathLike[str] | Checkpoint,
        *,
        compute_type: str = "default",
        inter_threads: int = 1,
        intra_threads: int = 0,
        max_memory: int = 0,
    ) -> None:
        """Opens a model.

        Args:
            model: path of a checkpoint (docs/checkpoints.md) or of a native model file, or what a
                loader has read.
            compute_type: number format of the weights, as in :class:`pytransformer.Translator`.
            inter_threads: how many workers encode in parallel; they share the weights.
            intra_threads: threads of each worker; 0 shares out the cores that this process may use.
            max_memory: bytes that the work may take, as in :class:`pytransformer.Translator`.

        Raises:
            CheckpointError: the model cannot be read; names the file and what would be right.
            UnsupportedModelError: it is no encoder alone, or none that the engine computes.
            OptionError: an unknown compute type or an impossible number of threads.
        """
        settings = check_settings(
            EngineSettings,
            compute_type=compute_type,
            inter_threads=inter_threads,
            intra_threads=intra_threads,
            max_memory=max_memory,
        )
        super().__init__(model, settings)
        self._reader = InputReader(self._model)

    @property
    def labels(self) -> tuple[str, ...]:
        """The names of the classes, in the order of the logits; empty if the model has none."""
        head = self._model.spec.head
        return () if head is None else head.labels

    @property
    def max_length(self) -> int:
        """The longest input in tokens, special ones included."""
        return self._model.spec.encoder.positions.max_length

    @property
    def pictures(self) -> PictureReader:
        """What prepares pictures; raises OptionError for a model that reads texts."""
        if not self._model.reads_pictures:
            raise OptionError(f"{self.model_path}: this model reads texts, no pictures")
        return self._model.pictures

    def encode(
        self,
        inputs: str | Iterable[str] | npt.NDArray[Any] | Iterable[npt.NDArray[Any]],
        text_pairs: str | Iterable[str] | None = None,
        *,
        max_input_length: int = 0,
        max_batch_size: int = 0,
    ) -> EncoderOutput:
        """Encodes texts, pairs of texts or pictures, one or several.

        Args:
            inputs: a text or texts; or a picture or pictures, each an array of floats
                [channels, height, width] as the model wants them, or of bytes
                [height, width, channels] (uint8), which are resized, rescaled and normalised as the
                checkpoint says.
            text_pairs: a second text for each one, read behind it.
            max_input_length: cut longer texts to so many tokens, special ones included, first the
                longer one of a pair; 0 cuts nothing: one that is longer than the model's positions
                is then an error.
            max_batch_size: most inputs encoded at once; 0 lets the engine choose. Results do not
                depend on it.

        Raises:
            TypeError: an input is neither a text nor a picture.
            ValueError: a text holds a lone surrogate, so it is no Unicode text.
            OptionError: an impossible option, or a picture of a wrong shape.
            InputLengthError: a text is longer than the model's positions and may not be cut.
        """
        read = self._reader.read(inputs, text_pairs, _checked("max_input_length", max_input_length))
        return self._output(self._submit(read, max_batch_size))

    def encode_async(
        self,
        inputs: Any,
        text_pairs: str | Iterable[str] | None = None,
        *,
        max_input_length: int = 0,
        max_batch_size: int = 0,
    ) -> AsyncResult[EncoderOutput]:
        """As :meth:`encode`, but returns at once; ``await`` what it returns.

        Inputs that are asked for one after another join the batch that is running.
        """
        read = self._reader.read(inputs, text_pairs, _checked("max_input_length", max_input_length))
        pending = self._submit(read, max_batch_size)
        return AsyncResult(pending, lambda: self._output(pending), self._watcher)

    def forward_batch(
        self,
        inputs: Iterable[Sentence],
        token_type_ids: Iterable[Sequence[int]] | None = None,
        *,
        max_batch_size: int = 0,
    ) -> EncoderOutput:
        """Encodes tokens (str) or ids as they are: no special token is added.

        Args:
            inputs: the tokens or ids of each input; ids in a list or a NumPy array.
            token_type_ids: the types of the tokens of each input, 0 or 1 in BERT; by default 0.
            max_batch_size: as in :meth:`encode`.
        """
        read = self._reader.read_tokens(inputs, token_type_ids)
        return self._output(self._submit(read, max_batch_size))

    @overload
    def classify(
        self, inputs: str, text_pairs: str | None = ..., **options: Any
    ) -> list[Label]: ...

    @overload
    def classify(
        self, inputs: Any, text_pairs: Iterable[str] | None = ..., **options: Any
    ) -> list[list[Label]]: ...

    def classify(self, inputs: Any, text_pairs: Any = None, **options: Any) -> Any:
        """The classes of an input, or of each of several, with their probabilities, best first.

        Arguments and errors as in :meth:`encode`; an OptionError too if the model has no classes.
        A model that was trained for several classes at once gives the probability of each for
        itself; one of a regression gives its values.
        """
        head = self._model.spec.head
        if head is None or not head.labels:
            raise OptionError(f"{self.model_path}: this model has no classes")
        found = labels_of(self.encode(inputs, text_pairs, **options).logits, head)
        return found[0] if self._reader.is_single(inputs) else found

    def _submit(self, read: Sequence[EncoderInput], max_batch_size: int) -> Pending:
        options = _native.SearchOptions()
        options.encode = True
        options.max_batch_size = _checked("max_batch_size", max_batch_size) or _BATCH
        requests = [one.request() for one in read]
        try:
            job = self._engine.submit(requests, options)
        except ValueError as error:
            raise OptionError(str(error)) from None
        return Pending(job, [True] * len(requests), 1)

    def _output(self, pending: Pending) -> EncoderOutput:
        return EncoderOutput.of(pending.encodings(), self._model.spec)


def _checked(name: str, value: object) -> int:
    try:
        return _COUNT.convert(value)
    except (TypeError, ValueError, OverflowError):
        raise OptionError(f"{name} is {value!r}, expected {_COUNT.expected}") from None
