"""Writes a checkpoint of any kind as a directory that this package opens.

The weights are a native model file under the name that CTranslate2's have, model.bin; beside it
lie the files that programs look for: config.json and lists of tokens.
"""

from __future__ import annotations

import dataclasses
import json
import os
from typing import Any

from pytransformer import native
from pytransformer.ctranslate2.alone import all_tokens, neutral, unknown_token
from pytransformer.errors import UnsupportedModelError
from pytransformer.loaders.ctranslate2 import MODEL_FILE
from pytransformer.model_spec import NO_TOKEN, PICTURES, Checkpoint, GenerationSpec
from pytransformer.tokenizers import Tokenizer, create

# What CTranslate2 names where a model has no such tokens.
_BEGIN, _END = "<s>", "</s>"


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
        checkpoint: the model.
        compute_type: ours.
        add_source_eos: whether the end token is added to sources.
        decoder_start_token: None where the first token of each target prefix is the start token;
            the checkpoint's own otherwise.

    Raises:
        UnsupportedModelError: a model of pictures.
        Exception: what reading the checkpoint's tensors raises.
    """
    if checkpoint.tokenizer.kind == PICTURES:
        raise UnsupportedModelError("a model that reads pictures has no tokens")
    tokenizer = create(checkpoint.tokenizer, checkpoint.files)
    generation = checkpoint.generation
    if checkpoint.model.architecture == "encoder_decoder":
        config, tokens = _translation(checkpoint, tokenizer)
        config["add_source_eos"] = add_source_eos
        if decoder_start_token is None:
            config["decoder_start_token"] = None
    else:
        config, tokens = _alone(checkpoint, tokenizer)
    for name, listed in tokens.items():
        _write_json(directory, f"{name}.json", listed)
    _write_json(directory, "config.json", config)
    plain = dataclasses.replace(checkpoint, generation=neutral(generation))
    native.write(plain, os.path.join(directory, MODEL_FILE), compute_type)


def _translation(
    checkpoint: Checkpoint, tokenizer: Tokenizer
) -> tuple[dict[str, Any], dict[str, list[str]]]:
    """The configuration of a model with encoder and decoder, and its lists of tokens by name."""
    generation = checkpoint.generation
    end = tokenizer.target_tokens([generation.end_token_id])[0]
    encoder, decoder = checkpoint.model.encoder, checkpoint.model.decoder
    source = all_tokens(encoder.vocab_size, tokenizer.source_tokens)
    target = all_tokens(decoder.vocab_size, tokenizer.target_tokens)
    config = {
        "add_source_bos": False,
        "bos_token": _BEGIN if _BEGIN in target else end,
        "decoder_start_token": _start(tokenizer, generation, end),
        "eos_token": end,
        "layer_norm_epsilon": None,
        "unk_token": unknown_token(target, tokenizer, "<unk>"),
    }
    if source == target:
        return config, {"shared_vocabulary": target}
    return config, {"source_vocabulary": source, "target_vocabulary": target}


def _alone(
    checkpoint: Checkpoint, tokenizer: Tokenizer
) -> tuple[dict[str, Any], dict[str, list[str]]]:
    """The same of an encoder or a decoder alone."""
    model = checkpoint.model
    is_decoder = model.architecture == "decoder"
    stack = model.decoder if is_decoder else model.encoder
    tokens = all_tokens(stack.vocab_size, tokenizer.target_tokens)
    end = tokens[checkpoint.generation.end_token_id] if is_decoder else _END
    config = {
        "bos_token": end if is_decoder else _BEGIN,
        "eos_token": end,
        "layer_norm_epsilon": None,
        "unk_token": unknown_token(tokens, tokenizer, end),
    }
    return config, {"vocabulary": tokens}


def _start(tokenizer: Tokenizer, generation: GenerationSpec, end: str) -> str:
    start = generation.decoder_start_token_id
    return end if start == NO_TOKEN else tokenizer.target_tokens([start])[0]


def _write_json(directory: str, name: str, value: Any) -> None:
    with open(os.path.join(directory, name), "w", encoding="utf-8") as file:
        json.dump(value, file, indent=2)
        file.write("\n")
