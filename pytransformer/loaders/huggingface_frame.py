"""What a Hugging Face tokenizer puts around texts, as the settings of a framed tokenizer."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pytransformer.errors import CheckpointError
from pytransformer.loaders.huggingface import Settings
from pytransformer.tokenizers.framed import TEXT

END = "$end"  # in a frame: the token that ends sentences, whatever its name
# The settings of generation that name a target language, too.
_TARGET_KEYS = {"first_token": "forced_bos_token_id", "start_token": "decoder_start_token_id"}


@dataclass(frozen=True)
class Directory:
    """A model's directory, as its tokenizer needs it.

    Attributes:
        path: the directory.
        config: config.json.
        options: tokenizer_config.json, empty if there is none.
        source_size, target_size: how many embeddings there are.
    """

    path: Path
    config: Settings
    options: Settings
    source_size: int
    target_size: int

    @property
    def size(self) -> int:
        """How many ids have an embedding on both sides."""
        return min(self.source_size, self.target_size)

    def generation(self, key: str) -> Any:
        """A setting of generation_config.json, or of config.json if there is none."""
        path = self.path / "generation_config.json"
        return (Settings.read(path) if path.is_file() else self.config).get(key)


@dataclass(frozen=True)
class Frame:
    """What stands around a text, and how the model's languages are named.

    Attributes:
        before, behind: tokens, or END, SOURCE or TARGET for those that have a meaning.
        token: the form of the languages' tokens, with the code as its group.
        source_language: the one that is meant where nothing is said.
        target_by: what names the target language, see
            :class:`pytransformer.tokenizers.framed.FramedTokenizer`.
    """

    before: Sequence[str]
    behind: Sequence[str]
    token: str = ""
    source_language: str | None = None
    target_by: str | None = None

    def languages(self, tokens: Iterable[str]) -> dict[str, str]:
        """The codes of languages, and their tokens, among `tokens`."""
        if not self.token:
            return {}
        matches = (re.fullmatch(self.token, token) for token in tokens)
        return {match[1]: match[0] for match in matches if match}

    def settings(
        self, directory: Directory, end: str, languages: Mapping[str, str]
    ) -> dict[str, Any]:
        """The tokenizer's settings; raises CheckpointError if languages or a default one lack."""
        if self.token and not languages:
            raise CheckpointError(f"{directory.path}: the tokenizer has no token of a language")
        key = _TARGET_KEYS.get(self.target_by or "")
        named = key is not None and directory.generation(key) is not None
        usual = self.source_language if self.source_language in languages else None
        return {
            "frame": [end if item == END else item for item in (*self.before, TEXT, *self.behind)],
            "end_token": end,
            "source_size": directory.source_size,
            "target_size": directory.target_size,
            "language_tokens": dict(languages),
            "source_languages": list(languages),
            "target_languages": list(languages),
            "source_language": _default(directory.options, "src_lang", languages) or usual,
            "target_language": _default(directory.options, "tgt_lang", languages),
            "target_by": self.target_by,
            "needs_target": self.target_by is not None and not named,
        }


def _default(options: Settings, key: str, languages: Mapping[str, str]) -> str | None:
    language = options.text(key, "")
    if not language or not languages:
        return None
    if language not in languages:
        raise CheckpointError(
            f"{options.path}: {key} is {language!r}, which is no language of this model"
        )
    return language
