"""`pytransformer info`: the machine and a model."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from typing import Any

import pytransformer
from pytransformer import _native
from pytransformer.cli.text import megabytes
from pytransformer.model_files import BUNDLED_MODEL, OpenModel, open_model
from pytransformer.model_spec import StackSpec
from pytransformer.processor import processor_name


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


def _model_facts(model: OpenModel) -> dict[str, str]:
    spec, generation = model.spec, model.generation
    positions = spec.encoder.positions
    return {
        "model": model.path,
        "family": model.family,
        "encoder": _stack(spec.encoder),
        "decoder": _stack(spec.decoder),
        "vocabulary": _vocabulary(model),
        "positions": positions.kind.replace("_", ", ")
        + ("" if positions.kind == "none" else f", up to {positions.max_length} tokens"),
        "compute type": model.native.compute_type,
        "parameters": f"{model.native.num_parameters:,} (padding included)",
        "size": megabytes(model.native.size_bytes),
        "from": _languages(model.tokenizer.source_languages),
        "to": _languages(model.tokenizer.target_languages),
        "defaults": (
            f"beam_size {generation.beam_size}, length_penalty {generation.length_penalty:g}, "
            f"early_stopping {generation.early_stopping}, "
            f"max_decoding_length {generation.max_decoding_length}"
        ),
    }


def _stack(stack: StackSpec) -> str:
    return (
        f"{stack.num_layers} layers, d_model {stack.d_model}, d_ff {stack.d_ff}, "
        f"{stack.num_heads} heads of {stack.head_dim}, {stack.activation}, "
        f"{stack.norm_position}-norm"
    )


def _vocabulary(model: OpenModel) -> str:
    source, target = model.spec.encoder.vocab_size, model.spec.decoder.vocab_size
    if model.spec.shared_embedding:
        return f"{source:,} tokens, shared"
    return f"{source:,} source and {target:,} target tokens"


def _languages(names: Sequence[str]) -> str:
    return ", ".join(names) or "not stated by the checkpoint"


def _print_facts(facts: dict[str, str]) -> None:
    for name, value in facts.items():
        print(f"{name:<17}{value}")
