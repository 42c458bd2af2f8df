"""CTranslate2's Encoder."""

from __future__ import annotations

from collections.abc import Sequence

import pytransformer
from pytransformer.ctranslate2.alone import model_path
from pytransformer.ctranslate2.errors import as_ctranslate2
from pytransformer.ctranslate2.forward import batch_inputs, padded
from pytransformer.ctranslate2.loaded_model import as_directory
from pytransformer.ctranslate2.model_owner import ModelOwner
from pytransformer.ctranslate2.results import EncoderForwardOutput
from pytransformer.ctranslate2.storage_view import StorageView


class Encoder(ModelOwner[pytransformer.Encoder]):
    """An encoder of texts with the methods, options and results of CTranslate2's.

    Example:
        >>> encoder = ctranslate2.Encoder("model/", device="cpu")
        >>> encoder.forward_batch([["[CLS]", "a", "dog", "[SEP]"]]).pooler_output
    """

    @property
    def num_encoders(self) -> int:
        """Number of workers."""
        return self._threads.workers

    def _open(self) -> pytransformer.Encoder:
        with as_directory(self._path, self._files) as path, as_ctranslate2():
            return pytransformer.Encoder(
                model_path(self._path, path),
                compute_type=self._wanted_type,
                inter_threads=self._threads.workers,
                intra_threads=self._threads.each,
            )

    def forward_batch(
        self,
        inputs: Sequence[Sequence[str]] | Sequence[Sequence[int]] | StorageView,
        lengths: StorageView | None = None,
        token_type_ids: Sequence[Sequence[int]] | None = None,
    ) -> EncoderForwardOutput:
        """Encodes a batch of tokens or ids, which are read as they are.

        Args:
            inputs: the tokens or ids of each input; or an array of ids [inputs, longest] (int32).
            lengths: how many ids of each row count [inputs] (int32), for such an array.
            token_type_ids: the types of the tokens, of the shape of `inputs`; by default 0.

        Returns:
            States, and what the pooler makes of the first one of each input.

        Raises:
            TypeError: an argument of a wrong type.
            ValueError: lengths or types that do not fit, an empty input, or an unknown id.
            RuntimeError: an input is longer than the model's positions, or the model was unloaded.
        """
        given = batch_inputs(inputs, lengths)
        model = self._loaded()
        types = token_type_ids
        if types is not None and isinstance(inputs, StorageView):
            types = [kind[: len(ids)] for kind, ids in zip(types, given, strict=False)]
        with as_ctranslate2():
            found = model.forward_batch(given, types)
        pooled = found.pooler_output
        return EncoderForwardOutput(
            padded(found.last_hidden_state),
            None if pooled is None else StorageView(pooled),
        )
