"""The tokens and phrases that options name, as ids."""

from __future__ import annotations

from collections.abc import Sequence

from pytransformer.decoding_limits import DecodingLimits
from pytransformer.options import Phrase, TranslationOptions


class OptionTokens:
    """The ids of all options that name tokens or phrases, and what could not be made ids.

    Attributes:
        ends: tokens that end a translation.
        allowed: the only tokens that may come, sorted, the end tokens among them; empty for all.
        force_phrases: what must come, in the order of the option.
        suppressed: tokens that never come.
        suppress_sequences: sequences of two tokens or more that never come.
        unknown: by option, the tokens and phrases that the vocabulary lacks.
    """

    def __init__(self, options: TranslationOptions, limits: DecodingLimits) -> None:
        self._limits = limits
        self.unknown: dict[str, list[Phrase | int]] = {}
        self.ends = self._tokens("end_token", options.end_token)
        self.force_phrases = self._phrases("force_phrases", options.force_phrases)
        suppressed = self._phrases("suppress_sequences", options.suppress_sequences)
        # As in transformers, an end token is no bad word.
        suppressed += [
            ids
            for ids in self._phrases("bad_words_ids", options.bad_words_ids)
            if ids not in [[end] for end in self.ends]
        ]
        self.suppressed = {ids[0] for ids in suppressed if len(ids) == 1}
        self.suppressed.update(limits.generation.suppress_token_ids)
        if options.disable_unk and (unknown := limits.unknown_id()) is not None:
            self.suppressed.add(unknown)
        self.suppress_sequences = [ids for ids in suppressed if len(ids) > 1]
        allowed = self._tokens("allowed_tokens", options.allowed_tokens)
        self.allowed = sorted({*allowed, *self.ends}) if options.allowed_tokens else []

    def _phrases(self, name: str, phrases: Sequence[Phrase]) -> list[list[int]]:
        return [
            self._text(name, phrase) if isinstance(phrase, str) else self._tokens(name, phrase)
            for phrase in phrases
        ]

    def _text(self, name: str, text: str) -> list[int]:
        ids = self._limits.text_ids(text)
        if not ids or self._limits.unknown_id() in ids:
            self.unknown.setdefault(name, []).append(text)
        return ids

    def _tokens(self, name: str, tokens: Sequence[str | int]) -> list[int]:
        ids = []
        for token in tokens:
            token_id = self._id(token)
            if token_id is None:
                self.unknown.setdefault(name, []).append(token)
            else:
                ids.append(token_id)
        return ids

    def _id(self, token: str | int) -> int | None:
        if isinstance(token, str):
            return self._limits.target_id(token)
        return token if token < self._limits.vocab_size else None
