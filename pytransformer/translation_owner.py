"""What a translator is, before it translates."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from pytransformer.batches import TranslationBatches
from pytransformer.decoding import DecodingLimits
from pytransformer.engine_owner import EngineOwner
from pytransformer.model_files import OpenModel
from pytransformer.model_spec import Checkpoint
from pytransformer.scoring import Scorer
from pytransformer.sentences import SentenceTranslator
from pytransformer.settings import TranslatorSettings, check_settings

if TYPE_CHECKING:
    from pytransformer.shortlist import LexicalShortlist


class TranslationOwner(EngineOwner):
    """A model with an encoder and a decoder, its engine, and a shortlist if it has one."""

    _ARCHITECTURE = "encoder_decoder"

    def __init__(
        self,
        model: str | os.PathLike[str] | Checkpoint | None = None,
        *,
        compute_type: str = "default",
        inter_threads: int = 1,
        intra_threads: int = 0,
        max_memory: int = 0,
        shortlist: str | os.PathLike[str] | None = None,
        shortlist_first: int = 100,
        shortlist_best: int = 100,
    ) -> None:
        """Opens a model.

        Args:
            model: path of a checkpoint in any format (docs/checkpoints.md) or of a native model
                file, or what a loader has read; None is the model that the package carries.
            compute_type: number format of the weights: "float32", "bfloat16", "int8" or "int4".
                "default" is as stored (other floats count as float32), in which a native file is
                mapped and shared with other processes; any other type is converted in memory.
                "auto" is the fastest that costs at most 0.3 BLEU: int8, but what is stored as int4
                stays so. CTranslate2's "int8_float32", "int8_float16" and "int8_bfloat16" mean
                "int8".
            inter_threads: how many workers translate in parallel; they share the weights.
            intra_threads: threads of each worker; 0 shares out the cores that this process may use
                (by its affinity and its container's quota).
            max_memory: bytes that translating may take at any time, in all workers together; 0
                for no limit. The model does not count (docs/embedding.md says what does). Sentences
                wait until there is room; one that would not fit alone is refused
                (:class:`pytransformer.errors.MemoryLimitError`).
            shortlist: a lexical shortlist in one of Marian's forms (docs/shortlists.md). Only the
                tokens that it names for a source can then be generated, which is faster.
            shortlist_first: so many of the vocabulary's first tokens are always possible.
            shortlist_best: so many translations of each source token are possible.

        Raises:
            CheckpointError: the model cannot be read; names the file and what would be right.
            UnsupportedModelError: it is no model that translates, or none that the engine computes.
            OptionError: an unknown compute type or an impossible number of threads.
        """
        settings = check_settings(
            TranslatorSettings,
            compute_type=compute_type,
            inter_threads=inter_threads,
            intra_threads=intra_threads,
            max_memory=max_memory,
            shortlist_first=shortlist_first,
            shortlist_best=shortlist_best,
        )
        self._shortlist = None if shortlist is None else os.path.abspath(os.fspath(shortlist))
        super().__init__(model, settings)
        self._sentences = SentenceTranslator(
            self._model, self._engine, _open_shortlist(self._shortlist, self._model, settings)
        )
        self._batches = TranslationBatches(self._sentences)
        self._scorer = Scorer(self._batches)

    @property
    def limits(self) -> DecodingLimits:
        """What the model says about options: defaults and bounds."""
        return self._sentences.limits

    @property
    def source_languages(self) -> Sequence[str]:
        """Languages that `src_lang` may name; empty where the model does not say."""
        return self._model.tokenizer.source_languages

    @property
    def target_languages(self) -> Sequence[str]:
        """Languages that `tgt_lang` may name; empty where the model does not say."""
        return self._model.tokenizer.target_languages

    def language_options(self, tgt_lang: str | None) -> dict[str, int]:
        """The options, by name, that have translations come in a language.

        For methods that take tokens; those that take text know it from their `tgt_lang`. Raises
        OptionError for a language that the model does not know.
        """
        return self._sentences.language_options(tgt_lang)

    def _arguments(self) -> dict[str, Any]:
        return {**super()._arguments(), "shortlist": self._shortlist}


def _open_shortlist(
    path: str | None, model: OpenModel, settings: TranslatorSettings
) -> LexicalShortlist | None:
    if path is None:
        return None
    from pytransformer.shortlist import LexicalShortlist

    tokenizer = model.tokenizer
    return LexicalShortlist.load(
        path,
        lambda token: tokenizer.source_ids([token])[0],
        lambda token: tokenizer.target_ids([token])[0],
        source_size=model.spec.encoder.vocab_size,
        target_size=model.spec.decoder.vocab_size,
        first=settings.shortlist_first,
        best=settings.shortlist_best,
    )
