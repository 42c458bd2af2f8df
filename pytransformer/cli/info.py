"""`pytransformer info`: the machine and a model."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from typing import Any

import pytransformer
from pytransformer import _native
from pytransformer.cli.text import megabytes
from pytransformer.model_files import BUNDLED_MODEL, OpenModel, open_model
from pytransformer.model_spec import HeadSpec, StackSpec
from pytransformer.processor import processor_name

_MOST_LABELS = 5  # that are shown


def add_parser(commands: Any) -> None:
    """Declares the command."""
    description = "Shows what the engine uses of this machine, and what a model is."
    parser: argparse.ArgumentParser = commands.add_parser(
        "info", help="show the machine and a model", description=description
    )
    parser.set_defaults(run=run)
    parser.add_argument(
        "model",
        metavar="MODEL",
        nargs="?",
        help="a checkpoint or a native model file; by default the bundled model",
    )


def run(arguments: argparse.Namespace) -> int:
    """Prints both descriptions on stdout, one fact a line."""
    _print_facts({"pytransformer": pytransformer.__version__, **_machine_facts()})
    print()
    if arguments.model is None and not BUNDLED_MODEL.is_file():
        _print_facts({"model": "none bundled with this installation"})
    else:
        _print_facts(_model_facts(open_model(arguments.model)))
    return 0


def _machine_facts() -> dict[str, str]:
    return {
        "processor": processor_name(),
        "instruction set": f"{_native.active_isa()} (of {', '.join(_native.supported_isas())})",
        "cores to use": str(_native.available_threads()),
    }


_POSITIONS = {
    "none": "none",
    "learned": "learned",
    "sinusoidal": "sines, then cosines",
    "sinusoidal_interleaved": "sines and cosines in turn",
    "sinusoidal_tensor2tensor": "sines, then cosines, as in Tensor2Tensor",
}


def _model_facts(model: OpenModel) -> dict[str, str]:
    spec = model.spec
    stacks = {"encoder": spec.encoder, "decoder": spec.decoder}
    if spec.architecture != "encoder_decoder":
        stacks = {spec.architecture: stacks[spec.architecture]}
    positions = next(iter(stacks.values())).positions
    return {
        "model": model.path,
        "family": model.family,
        **{side: _stack(stack) for side, stack in stacks.items()},
        **_reads(model),
        "positions": _POSITIONS[positions.kind]
        + ("" if positions.kind == "none" else f", up to {positions.max_length} tokens"),
        "compute type": model.native.compute_type,
        "parameters": f"{model.native.num_parameters:,} (padding included)",
        "size": megabytes(model.native.size_bytes),
        **(_head(spec.head) if spec.architecture == "encoder" else _defaults(model)),
    }


_NORMS = {"layer": "norm", "rms": "RMS norm", "deviation": "norm by deviation"}
_MEMORIES = {"ssru": ["SSRU"], "average_attention": ["average attention"]}
_DISTANCES = {
    "bias": "biases for distances",
    "vectors": "vectors for distances",
    "rotary": "rotary positions",
}


def _stack(stack: StackSpec) -> str:
    """The sizes, and what is not as in the paper."""
    norm = _NORMS[stack.norm]
    return ", ".join(
        [
            f"{stack.num_layers} layers",
            f"d_model {stack.d_model}",
            f"d_ff {stack.d_ff}",
            f"{stack.num_heads} heads of {stack.head_dim}",
            f"gated {stack.activation}" if stack.gated else stack.activation,
            f"no {norm}" if stack.norm_position == "none" else f"{stack.norm_position}-{norm}",
            *_MEMORIES.get(stack.autoregression, []),
            *([_DISTANCES[stack.distances.kind]] if stack.distances else []),
        ]
    )


def _reads(model: OpenModel) -> dict[str, str]:
    if model.reads_pictures:
        height, width = model.pictures.size
        return {"reads": f"pictures of {height} x {width}"}
    spec = model.spec
    source, target = spec.encoder.vocab_size, spec.decoder.vocab_size
    if spec.architecture != "encoder_decoder":
        size = source if spec.architecture == "encoder" else target
        return {"vocabulary": f"{size:,} tokens"}
    if spec.shared_embedding:
        return {"vocabulary": f"{source:,} tokens, shared"}
    return {"vocabulary": f"{source:,} source and {target:,} target tokens"}


def _head(head: HeadSpec | None) -> dict[str, str]:
    """What stands on an encoder alone."""
    pooler = head.pooler_size if head is not None else 0
    labels = head.labels if head is not None else ()
    shown = ", ".join(labels[:_MOST_LABELS]) + (", ..." if len(labels) > _MOST_LABELS else "")
    return {
        "pooler": f"of size {pooler}" if pooler else "none",
        "classes": f"{len(labels)}: {shown}" if labels else "none",
    }


def _defaults(model: OpenModel) -> dict[str, str]:
    generation = model.generation
    languages = {
        "from": _languages(model.tokenizer.source_languages),
        "to": _languages(model.tokenizer.target_languages),
    }
    return {
        **(languages if model.spec.architecture == "encoder_decoder" else {}),
        "defaults": (
            f"beam_size {generation.beam_size}, length_penalty {generation.length_penalty:g}, "
            f"early_stopping {generation.early_stopping}, "
            f"max_decoding_length {generation.max_decoding_length}"
        ),
    }


def _languages(names: Sequence[str]) -> str:
    return ", ".join(names) or "not stated by the checkpoint"


def _print_facts(facts: dict[str, str]) -> None:
    for name, value in facts.items():
        print(f"{name:<17}{value}")
