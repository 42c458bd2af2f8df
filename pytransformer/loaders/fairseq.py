"""Checkpoints of fairseq's Transformer: `checkpoint_best.pt` or alike beside `dict.xx.txt`.

The file holds the weights ("model") and the options of the training: an argparse Namespace
("args"), or a configuration ("cfg") whose part "model" is a Namespace, a dictionary or omegaconf's
object. The dictionaries of both languages must lie beside it. Architecture and arithmetic are those
of fairseq/models/transformer. Encoder layers saved by version 0.12 also hold `in_proj_weight` and
seven tensors more that its fast path never reads; they may be there, with any values.

Texts are split at white space, as fairseq expects them cut already; BPE codes (of subword-nmt or
fastBPE) or a sentencepiece model beside the checkpoint, under the name that the options give or
under one in :mod:`pytransformer.loaders.token_lists`, cut them. Defaults of decoding are those of
`fairseq-generate`.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pytransformer.errors import CheckpointError, UnsupportedModelError
from pytransformer.loaders.fairseq_dictionary import read_dictionary
from pytransformer.loaders.fairseq_model import FairseqModel
from pytransformer.loaders.huggingface import Settings
from pytransformer.loaders.pickle_machine import Constructor, filled_later, passive, records
from pytransformer.loaders.pytorch_file import PytorchObject, StateDict, is_state_dict
from pytransformer.loaders.pytorch_records import (
    COMMON_NAMES,
    attributes,
    checkpoint_files,
    plain_options,
)
from pytransformer.loaders.tensor_plan import bind
from pytransformer.loaders.token_lists import TokenLists, read_cutters
from pytransformer.model_spec import Checkpoint, GenerationSpec

DESCRIPTION = "a fairseq checkpoint (a .pt file, or a directory with one) beside dict.xx.txt"

# Of several checkpoints in a directory, the first of these that is there.
_PREFERRED = ("checkpoint_best.pt", "model.pt", "checkpoint_last.pt")
_TASKS = ("translation",)
_METERS = ("AverageMeter", "TimeMeter", "StopwatchMeter")
_NODES = ("AnyNode", "StringNode", "IntegerNode", "FloatNode", "BooleanNode", "EnumNode")
_CONFIGURATIONS = (
    "BMUF", "Checkpoint", "Common", "CommonEval", "Dataset", "DistributedTraining", "EMA", "EvalLM",
    "Fairseq", "FairseqBMUF", "Generation", "Interactive", "Optimization",
)  # fmt: skip
_NAMES: dict[str, Constructor | None] = {
    **COMMON_NAMES,
    **records("omegaconf.dictconfig.DictConfig", "omegaconf.listconfig.ListConfig"),
    **records("omegaconf.base.ContainerMetadata", "omegaconf.base.Metadata"),
    **records(*(f"omegaconf.nodes.{name}" for name in _NODES)),
    **records(*(f"fairseq.meters.{name}" for name in _METERS)),
    **records(*(f"fairseq.logging.meters.{name}" for name in _METERS)),
    **passive(*(f"__builtin__.{name}" for name in ("bool", "dict", "float", "list", "unicode"))),
    **passive(*(f"fairseq.dataclass.configs.{name}Config" for name in _CONFIGURATIONS)),
    **passive("fairseq.tasks.translation.TranslationConfig", "typing.Any"),
    "collections.defaultdict": filled_later,
}


def recognises(path: Path) -> bool:
    """Whether a file here holds a dictionary with a model and its options, as fairseq saves it."""
    return bool(_files(path))


def load(path: Path) -> Checkpoint:
    """Reads a checkpoint; see :func:`pytransformer.loaders.load`."""
    file = next(iter(_files(path)), None)
    if file is None:
        raise CheckpointError(f"{path}: no fairseq checkpoint")
    saved = PytorchObject(file, _NAMES)
    if not is_state_dict(saved.root["model"]):
        raise CheckpointError(f"{file}: model should map names to tensors")
    options, task = _options(file, saved.root)
    source = StateDict(saved, saved.root["model"])
    lists = _read_lists(file, options, task)
    model = FairseqModel(options, source, len(lists.source), len(lists.target))
    tensors = bind(file, source, *model.plan(), "its options and dictionaries")
    tokenizer, files = lists.tokenizer(file, read_cutters(file.parent, _named_cutters(options)))
    generation = _generation(lists, model.spec.decoder.positions.max_length)
    return Checkpoint("fairseq", model.spec, generation, tokenizer, tensors, files)


def _files(path: Path) -> list[Path]:
    """The checkpoints at a path, the preferred one first."""
    if path.is_dir():
        preferred = (path / name for name in _PREFERRED)
        path = next((file for file in preferred if file.is_file()), path)
    found = checkpoint_files(path, ("model", "args"))
    return found or checkpoint_files(path, ("model", "cfg"))


def _options(file: Path, root: Mapping[Any, Any]) -> tuple[Settings, Settings]:
    """The options of the model and those of the task; older versions keep all in one place."""
    args = attributes(root.get("args"))
    if args:
        options = Settings(plain_options(args), file)
        return options, options
    parts = _unwrapped(root.get("cfg"))
    model = plain_options(_unwrapped(parts.get("model")))
    task = plain_options(_unwrapped(parts.get("task")))
    if not model:
        raise CheckpointError(f"{file}: neither args nor cfg says what the model is")
    for part in ("bpe", "tokenizer"):
        values = plain_options(_unwrapped(parts.get(part)))
        model = {**{key: value for key, value in values.items() if key != "_name"}, **model}
    task.setdefault("task", task.get("_name"))
    model.setdefault("arch", model.get("_name"))
    return Settings(model, file), Settings(task, file)


def _unwrapped(value: object) -> Mapping[Any, Any]:
    """What a dictionary, a Namespace or a DictConfig of omegaconf holds."""
    values = attributes(value)
    if "_content" not in values:
        return values
    content = attributes(values["_content"])
    return {key: attributes(node).get("_val", node) for key, node in content.items()}


def _read_lists(file: Path, options: Settings, task: Settings) -> TokenLists:
    name = task.text("task", _TASKS[0])
    if name not in _TASKS:
        raise UnsupportedModelError(f"{file}: the task {name!r} is not one of {', '.join(_TASKS)}")
    source, target = (
        read_dictionary(file, task.text(f"{side}_lang", options.text(f"{side}_lang", "")), side)
        for side in ("source", "target")
    )
    return TokenLists(
        source=source,
        target=target,
        unknown="<unk>",
        begin="<s>",
        end="</s>",
        start="</s>",
        ends_source=True,
    )


def _named_cutters(options: Settings) -> dict[str, str]:
    """Names of the files that cut text, as far as the options give them."""
    names = {}
    for key, suffix in (("sentencepiece_model", ".spm"), ("bpe_codes", ".bpe")):
        path = options.text(key, "")
        if path:
            name = os.path.basename(path.replace("\\", "/"))
            names.update({f"source{suffix}": name, f"target{suffix}": name})
    return names


def _generation(lists: TokenLists, positions: int) -> GenerationSpec:
    end, padding = lists.target.index(lists.end), lists.target.index("<pad>")
    return GenerationSpec(
        decoder_start_token_id=end,
        end_token_id=end,
        forced_end_token_id=end,
        suppress_token_ids=(padding,),
        max_decoding_length=min(200, positions - 1),
        min_decoding_length=1,
        beam_size=5,
        length_penalty=1.0,
        early_stopping=True,
    )
