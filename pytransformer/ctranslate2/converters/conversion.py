"""Writes a checkpoint of any kind as a directory that this package opens.

The weights are a native model file under the name that CTranslate2's have, model.bin; beside it
lie the files that programs look for: config.json and lists of tokens.
"""

from __future__ import annotations

import dataclasses
import json
import os
from collections.abc import Callable, Sequence
from typing import Any

from pytransformer import native
from pytransformer.errors import OptionError, UnsupportedModelError
from pytransformer.loaders.ctranslate2 import MODEL_FILE
from pytransformer.model_spec import NO_TOKEN, Checkpoint, GenerationSpec
from pytransformer.tokenizers import Tokenizer, create

_BEGIN = "<s>"


def write_model(
    directory: str,
    checkpoint: Checkpoint,
    compute_type: str,
    *,
    add_source_eos: bool,
    decoder_start_token: str | None,
) -> None:
    """Writes model and lists of tokens into a directory that exists.

    Args:
        directory: the directory.
        checkpoint: a model with encoder and decoder.
        compute_type: ours.
        add_source_eos: whether the end token is added to sources.
        decoder_start_token: None where the first token of each target prefix is the start token;
            the checkpoint's own otherwise.

    Raises:
        UnsupportedModelError: a model without encoder or decoder.
        Exception: what reading the checkpoint's tensors raises.
    """
    if checkpoint.model.architecture != "encoder_decoder":
        raise UnsupportedModelError(
            f"a model of the kind {checkpoint.model.architecture!r} does not translate"
        )
    tokenizer = create(checkpoint.tokenizer, checkpoint.files)
    generation = checkpoint.generation
    end = tokenizer.target_tokens([generation.end_token_id])[0]
    unknown = tokenizer.unknown_id
    encoder, decoder = checkpoint.model.encoder, checkpoint.model.decoder
    tokens = {
        "source": _tokens(encoder.vocab_size, tokenizer.source_tokens),
        "target": _tokens(decoder.vocab_size, tokenizer.target_tokens),
    }
    config: dict[str, Any] = {
        "add_source_bos": False,
        "add_source_eos": add_source_eos,
        "bos_token": _BEGIN if _BEGIN in tokens["target"] else end,
        "decoder_start_token": _start(tokenizer, generation, end)
        if decoder_start_token is not None
        else None,
        "eos_token": end,
        "layer_norm_epsilon": None,
        "unk_token": tokens["target"][unknown] if unknown is not None else "<unk>",
    }
    if tokens["source"] == tokens["target"]:
        tokens = {"shared": tokens["target"]}
    for name, listed in tokens.items():
        _write_json(directory, f"{name}_vocabulary.json", listed)
    _write_json(directory, "config.json", config)
    neutral = dataclasses.replace(checkpoint, generation=_neutral(generation))
    native.write(neutral, os.path.join(directory, MODEL_FILE), compute_type)


def _start(tokenizer: Tokenizer, generation: GenerationSpec, end: str) -> str:
    start = generation.decoder_start_token_id
    return end if start == NO_TOKEN else tokenizer.target_tokens([start])[0]


def _neutral(generation: GenerationSpec) -> GenerationSpec:
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


def _tokens(count: int, tokens_of: Callable[[Sequence[int]], list[str]]) -> list[str]:
    """The tokens of all ids; an id without one gets a name."""
    found = []
    for token_id in range(count):
        try:
            found += tokens_of([token_id])
        except OptionError:
            found.append(f"<unused_{token_id}>")
    return found


def _write_json(directory: str, name: str, value: Any) -> None:
    with open(os.path.join(directory, name), "w", encoding="utf-8") as file:
        json.dump(value, file, indent=2)
        file.write("\n")
