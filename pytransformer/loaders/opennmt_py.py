"""Checkpoints of OpenNMT-py, versions 1 to 3: a file `model_step_N.pt`, or a directory with one.

The file holds the weights ("model", and the output layer as "generator"), the vocabularies
("vocab") and the options of the training as an argparse Namespace ("opt"). With
`-save_format safetensors` the weights lie beside it, in a file of the same name. Architecture and
arithmetic are those of onmt/encoders/transformer.py and onmt/decoders/transformer.py: pre-norm
layers with a final norm, and an output layer with a bias. Nothing is added to a source.

Texts are split at white space, as OpenNMT-py expects them cut already; a sentencepiece model or
BPE codes beside the checkpoint, under the name that the options give or under one in
:mod:`pytransformer.loaders.token_lists`, cut them. Defaults of decoding are those of
`onmt_translate`, as far as the search has them: beam 5, and the length penalty of its version.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pytransformer.errors import CheckpointError
from pytransformer.loaders.huggingface import Settings
from pytransformer.loaders.opennmt_py_model import read_model, tensor_plan
from pytransformer.loaders.opennmt_py_vocabulary import VOCABULARY_NAMES, read_vocabularies
from pytransformer.loaders.pytorch_file import PytorchObject, StateDict, is_state_dict
from pytransformer.loaders.pytorch_records import (
    COMMON_NAMES,
    attributes,
    checkpoint_files,
    plain_options,
)
from pytransformer.loaders.safetensors_file import SafetensorsFile
from pytransformer.loaders.tensor_plan import bind
from pytransformer.loaders.tensor_source import TensorSource
from pytransformer.loaders.token_lists import read_cutters
from pytransformer.model_spec import Checkpoint, GenerationSpec

DESCRIPTION = "an OpenNMT-py checkpoint (model_step_N.pt, or a directory with one)"

_KEYS = ("vocab", "opt")
_SUBWORD_TYPES = {"sentencepiece": ".spm", "bpe": ".bpe"}


def recognises(path: Path) -> bool:
    """Whether a file here holds a dictionary with vocabularies and options."""
    return bool(_files(path))


def load(path: Path) -> Checkpoint:
    """Reads a checkpoint; see :func:`pytransformer.loaders.load`."""
    files = _files(path)
    if len(files) != 1:
        names = ", ".join(file.name for file in files[:8]) or "none"
        raise CheckpointError(f"{path}: expected one OpenNMT-py checkpoint, found {names}")
    file = files[0]
    saved = PytorchObject(file, {**COMMON_NAMES, **VOCABULARY_NAMES})
    options = Settings(plain_options(attributes(saved.root["opt"])), file)
    source = _weights(file, saved)
    lists, is_old = read_vocabularies(file, saved.root["vocab"])
    model = read_model(options, source, len(lists.source), len(lists.target))
    tensors = bind(file, source, *tensor_plan(options, source, model), "the options in it")
    end = lists.target_id(file, lists.end)
    start = lists.target_id(file, lists.start)
    tokenizer, texts = lists.tokenizer(file, read_cutters(file.parent, _named_cutters(options)))
    generation = _generation(start, end, model.decoder.positions.max_length, is_old=is_old)
    return Checkpoint("opennmt_py", model, generation, tokenizer, tensors, texts)


def _files(path: Path) -> list[Path]:
    if path.is_file() and path.suffix == ".safetensors":
        path = path.with_suffix(".pt")
    return checkpoint_files(path, _KEYS)


def _weights(file: Path, saved: PytorchObject) -> TensorSource:
    """All tensors, those of the output layer as `generator.…`."""
    root: Mapping[str, Any] = saved.root
    if "model" not in root:
        beside = file.with_suffix(".safetensors")
        if not beside.is_file():
            raise CheckpointError(f"{file}: no weights in it, and there is no {beside.name}")
        return SafetensorsFile(beside)
    model, generator = root["model"], root.get("generator", {})
    if not is_state_dict(model) or not is_state_dict(generator):
        raise CheckpointError(f"{file}: model and generator should map names to tensors")
    output = {f"generator.{name}": tensor for name, tensor in generator.items()}
    return StateDict(saved, {**model, **output})


def _named_cutters(options: Settings) -> dict[str, str]:
    """Names of the files that cut text, as far as the options give them."""
    names = {}
    for side, ours in (("src", "source"), ("tgt", "target")):
        suffix = _SUBWORD_TYPES.get(options.text(f"{side}_subword_type", "none"))
        path = options.text(f"{side}_subword_model", "")
        if suffix and path:
            names[ours + suffix] = os.path.basename(path.replace("\\", "/"))
    return names


def _generation(start: int, end: int, positions: int, *, is_old: bool) -> GenerationSpec:
    # onmt_translate ranked by the sum of log probabilities up to version 2, then by their mean.
    return GenerationSpec(
        decoder_start_token_id=start,
        end_token_id=end,
        forced_end_token_id=None,
        suppress_token_ids=(),
        max_decoding_length=min(100 if is_old else 250, positions - 1),
        beam_size=5,
        length_penalty=0.0 if is_old else 1.0,
        beam_rule="marian",  # the nearer one: as there, a finished hypothesis leaves its beam empty
    )
