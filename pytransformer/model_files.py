"""Opens any checkpoint, native or not, as one thing that the engine and the tokenizer can use."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from pytransformer import _native, native
from pytransformer.errors import CheckpointError
from pytransformer.model_spec import GenerationSpec, ModelSpec, PositionSpec, TokenizerSpec
from pytransformer.options import DecodingLimits
from pytransformer.tokenizers import Tokenizer, create

BUNDLED_MODEL = Path(__file__).parent / "models" / "de-en" / "model.safetensors"


@dataclass(frozen=True)
class OpenModel:
    """A model ready for the engine, with what its checkpoint says beside the weights."""

    path: str
    native: _native.Model
    family: str
    spec: ModelSpec
    generation: GenerationSpec
    tokenizer: Tokenizer

    def limits(self) -> DecodingLimits:
        """What this model says about the options of decoding."""
        target_length = _reach(self.spec.decoder.positions)
        return DecodingLimits(
            generation=self.generation,
            vocab_size=self.spec.decoder.vocab_size,
            max_source_length=_reach(self.spec.encoder.positions),
            # The start token takes the first position; the end token is never fed back.
            max_decoding_length=None if target_length is None else target_length - 1,
            target_id=self._target_id,
        )

    def _target_id(self, token: str) -> int | None:
        ids = self.tokenizer.target_ids([token])
        # An unknown token comes back as <unk>.
        return ids[0] if self.tokenizer.target_tokens(ids) == [token] else None


def open_model(path: str | os.PathLike[str] | None) -> OpenModel:
    """Opens the checkpoint or native file at `path`, or the bundled model for None.

    Raises:
        CheckpointError: the files are missing, damaged or contradict each other; names them.
        UnsupportedModelError: a model of a family or an architecture that the engine lacks.
    """
    if path is None:
        path = BUNDLED_MODEL
        if not path.is_file():
            raise CheckpointError(
                f"{path}: this installation carries no bundled model; give the path of one"
            )
    name = os.fsdecode(path)
    model = _open_native(name)
    family, spec, generation, tokenizer_spec = native.read_config(model.config)
    tokenizer = create(tokenizer_spec, _tokenizer_files(name, model, tokenizer_spec))
    return OpenModel(name, model, family, spec, generation, tokenizer)


def _open_native(path: str) -> _native.Model:
    try:
        if native.is_native(path):
            return _native.Model.open(path)
        # Only checkpoints of other programs need the loaders, which are slow to import.
        from pytransformer import loaders

        return _native.Model.from_buffer(native.build_image(loaders.load(path)), path)
    except CheckpointError:
        raise
    except ValueError as error:
        raise CheckpointError(str(error)) from None


def _tokenizer_files(path: str, model: _native.Model, spec: TokenizerSpec) -> dict[str, bytes]:
    try:
        places = spec.settings["files"].items()
        return {name: model.file(place["tensor"], place["length"]) for name, place in places}
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise CheckpointError(f"{path}: the tokenizer's files are not as listed: {error}") from None


def _reach(positions: PositionSpec) -> int | None:
    return None if positions.kind == "none" else positions.max_length
