"""Defaults of decoding as Hugging Face stores them: generation_config.json, or config.json."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any, Literal

from pytransformer.errors import CheckpointError, UnsupportedModelError
from pytransformer.loaders.huggingface import Settings
from pytransformer.model_spec import GenerationSpec

# Used where the checkpoint says nothing. (transformers would stop after 20 tokens.)
DEFAULT_MAX_DECODING_LENGTH = 256

# Settings that would change the output and are not supported, with the values that change nothing.
_WITHOUT_EFFECT: dict[str, tuple[Any, ...]] = {
    "encoder_repetition_penalty": (1.0,),
    "encoder_no_repeat_ngram_size": (0,),
    "num_beam_groups": (1,),
    "begin_suppress_tokens": (),
    "exponential_decay_length_penalty": (),
    "sequence_bias": (),
    "force_words_ids": (),
    "constraints": (),
    "guidance_scale": (1.0,),
    "penalty_alpha": (0.0,),
    "stop_strings": (),
    "watermarking_config": (),
    "do_sample": (False,),
}


def read_generation(
    directory: Path, config: Settings, vocab_size: int, max_positions: int
) -> GenerationSpec:
    """The defaults of a directory.

    As in transformers, a generation_config.json stands alone if there is one; only ids of special
    tokens that it lacks are looked up in config.json, and a decoder that is told of no start token
    begins with bos_token_id. Hugging Face's lengths count the start token and the end token, ours
    count neither.
    """
    settings = read_settings(directory, config)
    _warn_of_unsupported(settings)
    reader = _Ids(settings, config, vocab_size)
    end, *more_ends = reader.several("eos_token_id")
    forced_end = reader.forced_end([end, *more_ends])
    singles, sequences = reader.suppressed([end, *more_ends])
    return GenerationSpec(
        decoder_start_token_id=reader.required("decoder_start_token_id", "bos_token_id"),
        end_token_id=end,
        forced_end_token_id=forced_end,
        suppress_token_ids=singles,
        max_decoding_length=_max_length(settings, forced_end is not None, max_positions),
        min_decoding_length=_min_length(settings),
        beam_size=settings.integer("num_beams", 1, minimum=1),
        length_penalty=settings.number("length_penalty", 1.0),
        early_stopping=_early_stopping(settings),
        more_end_token_ids=tuple(more_ends),
        forced_bos_token_id=reader.forced_bos(),
        repetition_penalty=_repetition_penalty(settings),
        no_repeat_ngram_size=settings.integer("no_repeat_ngram_size", 0),
        suppress_sequences=sequences,
        renormalize_logits=settings.flag("renormalize_logits", False),
    )


def read_settings(directory: Path, config: Settings) -> Settings:
    """The settings of generation: generation_config.json, or config.json if there is none."""
    path = directory / "generation_config.json"
    return Settings.read(path) if path.is_file() else config


def _max_length(settings: Settings, forced_end: bool, max_positions: int) -> int:
    if settings.get("max_new_tokens") is not None:
        total = settings.integer("max_new_tokens", 0, minimum=1) + 1
    elif settings.get("max_length") is not None:
        total = settings.integer("max_length", 0, minimum=1)
    else:
        total = DEFAULT_MAX_DECODING_LENGTH + 2
    # The last token of a full length is the end token if that is forced, else an ordinary one. The
    # decoder reads the start token and all tokens of the translation, so these need positions.
    return max(1, min(total - (2 if forced_end else 1), max_positions - 1))


def _min_length(settings: Settings) -> int:
    # min_length counts the start token, min_new_tokens does not.
    return max(settings.integer("min_length", 0) - 1, settings.integer("min_new_tokens", 0))


def _repetition_penalty(settings: Settings) -> float:
    value = settings.number("repetition_penalty", 1.0)
    if value <= 0:
        raise settings.error("repetition_penalty", "a number above 0")
    return value


def _early_stopping(settings: Settings) -> bool | Literal["never"]:
    value = settings.get("early_stopping")
    if value is None or isinstance(value, bool):
        return bool(value)
    if value == "never":
        return "never"
    raise settings.error("early_stopping", 'true, false or "never"')


def _warn_of_unsupported(settings: Settings) -> None:
    ignored = [
        f"{key} = {settings.get(key)}"
        for key, neutral in _WITHOUT_EFFECT.items()
        if settings.get(key) is not None and settings.get(key) not in neutral
    ]
    if ignored:
        _warn(settings, ignored)


def _warn(settings: Settings, ignored: list[str]) -> None:
    warnings.warn(f"{settings.path}: not supported and ignored: {', '.join(ignored)}", stacklevel=2)


class _Ids:
    """Reads ids of tokens and checks them against the vocabulary."""

    def __init__(self, settings: Settings, config: Settings, vocab_size: int) -> None:
        self._settings = settings
        self._config = config
        self._vocab_size = vocab_size

    def required(self, key: str, *otherwise: str) -> int:
        """An id from the generation settings, else from config.json, else one of another name."""
        for name in (key, *otherwise):
            for settings in (self._settings, self._config):
                if (token_id := self.optional(settings, name)) is not None:
                    return token_id
        raise CheckpointError(f"{self._config.path}: {key} is missing")

    def optional(self, settings: Settings, key: str) -> int | None:
        value = settings.get(key)
        if isinstance(value, list) and len(value) > 1:
            raise UnsupportedModelError(f"{settings.path}: several ids in {key} are not supported")
        if isinstance(value, list):
            value = value[0] if value else None
        return None if value is None else self._checked(settings, key, value)

    def several(self, key: str) -> list[int]:
        """One id or more, each once, from the generation settings, else from config.json."""
        for settings in (self._settings, self._config):
            value = settings.get(key)
            values = value if isinstance(value, list) else [] if value is None else [value]
            if values:
                return list(dict.fromkeys(self._checked(settings, key, item) for item in values))
        raise CheckpointError(f"{self._config.path}: {key} is missing")

    def forced_bos(self) -> int | None:
        """The first token behind the start token, which the oldest BART models had by a flag."""
        if self._settings.flag("force_bos_token_to_be_generated", False):
            return self.required("bos_token_id")
        return self.optional(self._settings, "forced_bos_token_id")

    def forced_end(self, ends: list[int]) -> int | None:
        """The token that is forced at the maximum length; it must be one that ends."""
        token_id = self.optional(self._settings, "forced_eos_token_id")
        if token_id is None or token_id in ends:
            return token_id
        _warn(self._settings, [f"forced_eos_token_id = {token_id}, which is not in eos_token_id"])
        return None

    def suppressed(self, ends: list[int]) -> tuple[tuple[int, ...], tuple[tuple[int, ...], ...]]:
        """Tokens that never come, and sequences of several that never do.

        As in transformers, an end token is no bad word.
        """
        settings = self._settings
        singles = settings.get("suppress_tokens") or []
        words = settings.get("bad_words_ids") or []
        if not isinstance(singles, list):
            raise settings.error("suppress_tokens", "a list of ids")
        if not isinstance(words, list) or not all(
            isinstance(item, list) and item for item in words
        ):
            raise settings.error("bad_words_ids", "a list of lists of ids")
        ids = [self._checked(settings, "suppress_tokens", item) for item in singles]
        sequences = []
        for word in words:
            sequence = tuple(self._checked(settings, "bad_words_ids", item) for item in word)
            if len(sequence) > 1:
                sequences.append(sequence)
            elif sequence[0] not in ends:
                ids.append(sequence[0])
        return tuple(sorted(set(ids))), tuple(dict.fromkeys(sequences))

    def _checked(self, settings: Settings, key: str, value: Any) -> int:
        if type(value) is not int or not 0 <= value < self._vocab_size:
            wanted = f"an id below {self._vocab_size}"
            raise CheckpointError(f"{settings.path}: {key} has {str(value)[:40]!r}, not {wanted}")
        return value
