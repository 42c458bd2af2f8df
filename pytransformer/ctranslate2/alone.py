"""Encoders and decoders alone: the directories that CTranslate2 has for them, and others."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from pathlib import Path

from pytransformer.ctranslate2.errors import ModelError
from pytransformer.ctranslate2.loaded_model import LoadedModel, Threads
from pytransformer.errors import OptionError
from pytransformer.loaders.ctranslate2 import MODEL_FILE
from pytransformer.loaders.ctranslate2_vocabulary import Conventions, Vocabularies
from pytransformer.model_files import open_model
from pytransformer.model_spec import GenerationSpec
from pytransformer.native_header import is_native
from pytransformer.tokenizers import Tokenizer


def model_path(name: str, path: Path) -> Path:
    """What is to be opened: the native file in a directory of our converters, or the path itself.

    Raises ModelError if there is nothing.
    """
    if is_native(path / MODEL_FILE):
        return path / MODEL_FILE
    if not path.exists():
        raise ModelError(f"Unable to open file '{MODEL_FILE}' in model '{name}'")
    return path


def open_decoder(path: Path, compute_type: str, threads: Threads) -> LoadedModel:
    """A decoder alone, whose texts begin with the tokens that they are given.

    Raises what :func:`pytransformer.model_files.open_model` raises.
    """
    model = open_model(path, compute_type, "decoder")
    model = dataclasses.replace(model, generation=neutral(model.generation))
    tokens = all_tokens(model.spec.decoder.vocab_size, model.tokenizer.target_tokens)
    end = tokens[model.generation.end_token_id]
    conventions = Conventions(
        unk_token=unknown_token(tokens, model.tokenizer, end),
        bos_token=end,
        eos_token=end,
        decoder_start_token=None,
    )
    vocabularies = Vocabularies(tokens, tokens, path, path, {})
    return LoadedModel(model, conventions, vocabularies, None, threads)


def neutral(generation: GenerationSpec) -> GenerationSpec:
    """What CTranslate2 keeps of a checkpoint's defaults: special tokens, and what never comes."""
    return GenerationSpec(
        decoder_start_token_id=generation.decoder_start_token_id,
        end_token_id=generation.end_token_id,
        forced_end_token_id=None,
        suppress_token_ids=generation.suppress_token_ids,
        max_decoding_length=256,
        min_decoding_length=1,
        beam_size=2,
        early_stopping=True,
    )


def all_tokens(count: int, tokens_of: Callable[[Sequence[int]], list[str]]) -> list[str]:
    """The tokens of all ids; an id without one gets a name."""
    found = []
    for token_id in range(count):
        try:
            found += tokens_of([token_id])
        except OptionError:
            found.append(f"<unused_{token_id}>")
    return found


def unknown_token(tokens: Sequence[str], tokenizer: Tokenizer, default: str) -> str:
    """The token that stands for what the vocabulary lacks."""
    unknown = tokenizer.unknown_id
    return default if unknown is None else tokens[unknown]
