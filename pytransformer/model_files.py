"""Opens any checkpoint, native or not, as one thing that the engine and the tokenizer can use."""

from __future__ import annotations

import contextlib
import functools
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from pytransformer import _native
from pytransformer.compute_types import resolve
from pytransformer.decoding import DecodingLimits
from pytransformer.errors import (
    CheckpointError,
    OptionError,
    PytransformerError,
    UnsupportedModelError,
)
from pytransformer.model_spec import (
    PICTURES,
    Architecture,
    Checkpoint,
    GenerationSpec,
    ModelSpec,
    PositionSpec,
    TokenizerSpec,
)
from pytransformer.native_header import is_native, read_config
from pytransformer.tokenizers import Tokenizer, create

if TYPE_CHECKING:
    from pytransformer.pictures import PictureReader

BUNDLED_MODEL = Path(__file__).parent / "models" / "de-en" / "model.safetensors"


@dataclass(frozen=True)
class OpenModel:
    """A model ready for the engine, with what its checkpoint says beside the weights."""

    path: str
    native: _native.Model
    family: str
    spec: ModelSpec
    generation: GenerationSpec
    tokenizer_spec: TokenizerSpec

    @property
    def reads_pictures(self) -> bool:
        """Whether it has a reader of pictures and no tokenizer."""
        return self.tokenizer_spec.kind == PICTURES

    @functools.cached_property
    def pictures(self) -> PictureReader:
        """What makes vectors of pictures."""
        from pytransformer.pictures import PictureReader

        with _naming(self.path):
            return PictureReader(self.tokenizer_spec.settings)

    @functools.cached_property
    def tokenizer(self) -> Tokenizer:
        """The tokenizer, made when it is first used: mapping the weights is faster by far."""
        if self.reads_pictures:
            raise OptionError(f"{self.path}: this model reads pictures, and has no tokenizer")
        try:
            places = self.tokenizer_spec.settings["files"].items()
            files = {
                name: self.native.file(place["tensor"], place["length"]) for name, place in places
            }
        except (AttributeError, KeyError, TypeError, ValueError) as error:
            raise CheckpointError(
                f"{self.path}: the tokenizer's files are not as listed: {error}"
            ) from None
        with _naming(self.path):
            return create(self.tokenizer_spec, files)

    def limits(self, *, has_shortlist: bool = False) -> DecodingLimits:
        """What this model says about the options of decoding."""
        target_length = _reach(self.spec.decoder.positions)
        has_encoder = self.spec.architecture != "decoder"
        # The start token takes the first position; the end token is never fed back.
        longest = None if target_length is None else target_length - 1
        return DecodingLimits(
            generation=self.generation,
            vocab_size=self.spec.decoder.vocab_size,
            # A prompt leaves room for a token behind it.
            max_source_length=_reach(self.spec.encoder.positions) if has_encoder else longest,
            max_decoding_length=longest,
            target_id=self._target_id,
            text_ids=lambda text: self.tokenizer.target_ids(self.tokenizer.encode_target(text)),
            unknown_id=lambda: self.tokenizer.unknown_id,
            num_layers=self.spec.decoder.num_layers,
            num_heads=self.spec.decoder.num_heads,
            has_shortlist=has_shortlist,
            has_encoder=has_encoder,
        )

    def _target_id(self, token: str) -> int | None:
        ids = self.tokenizer.target_ids([token])
        # An unknown token comes back as <unk>.
        return ids[0] if self.tokenizer.target_tokens(ids) == [token] else None


def open_model(
    path: str | os.PathLike[str] | Checkpoint | None,
    compute_type: str = "default",
    architecture: Architecture | None = None,
) -> OpenModel:
    """Opens the checkpoint or native file at `path`, or the bundled model for None.

    A checkpoint may also be given as its loader has read it. Only a model of that `architecture` is
    opened, unless it is None.

    A native file whose matrices have the compute type is mapped; of any other a converted image is
    made in memory.

    Raises:
        OptionError: an unknown compute type.
        CheckpointError: the files are missing, damaged or contradict each other; names them.
        UnsupportedModelError: a model of a family or an architecture that the engine lacks.
    """
    if path is None:
        path = BUNDLED_MODEL
        if not path.is_file():
            raise CheckpointError(
                f"{path}: this installation carries no bundled model; give the path of one"
            )
    name = "<memory>" if isinstance(path, Checkpoint) else os.fsdecode(path)
    try:
        if not isinstance(path, Checkpoint) and is_native(name):
            model = _open_native(name, compute_type)
        else:
            checkpoint = path if isinstance(path, Checkpoint) else read_checkpoint(name)
            _check_architecture(name, checkpoint.model.architecture, architecture)
            model = _build(checkpoint, name, compute_type)
    except PytransformerError:
        raise
    except ValueError as error:
        raise CheckpointError(str(error)) from None
    with _naming(name):
        family, spec, generation, tokenizer_spec = read_config(model.config)
    _check_architecture(name, spec.architecture, architecture)
    return OpenModel(name, model, family, spec, generation, tokenizer_spec)


_KINDS: dict[Architecture, str] = {
    "encoder_decoder": "an encoder and a decoder, which translate; use pytransformer.Translator",
    "encoder": "an encoder alone; use pytransformer.Encoder",
    "decoder": "a decoder alone; use pytransformer.Generator",
}


def _check_architecture(name: str, found: Architecture, wanted: Architecture | None) -> None:
    if wanted not in (None, found):
        raise UnsupportedModelError(f"{name}: this is {_KINDS[found]}")


# What converts needs NumPy and the loaders, whose imports take longer than to open a native file
# that is used as it is.


def _open_native(path: str, compute_type: str) -> _native.Model:
    model = _native.Model.open(path)
    if resolve(compute_type, model.compute_type) is None:
        return model
    from pytransformer.native_conversion import converted_image

    image = converted_image(path, model, compute_type)
    return model if image is None else _native.Model.from_buffer(image.data, path)


def _build(checkpoint: Checkpoint, name: str, compute_type: str) -> _native.Model:
    from pytransformer import native

    image = native.build_image(checkpoint, compute_type)
    return _native.Model.from_buffer(image.data, name)


def read_checkpoint(path: str) -> Checkpoint:
    """Reads a checkpoint that is no native file, and makes sure that its tokenizer works.

    Raises what :func:`pytransformer.loaders.load` raises.
    """
    from pytransformer import loaders

    checkpoint = loaders.load(path)
    with _naming(path):
        if checkpoint.tokenizer.kind == PICTURES:
            from pytransformer.pictures import PictureReader

            PictureReader(checkpoint.tokenizer.settings)
        else:
            create(checkpoint.tokenizer, checkpoint.files)
    return checkpoint


@contextlib.contextmanager
def _naming(path: str) -> Iterator[None]:
    """Puts the path of the model before messages of errors."""
    try:
        yield
    except CheckpointError as error:
        raise type(error)(f"{path}: {error}") from None


def _reach(positions: PositionSpec) -> int | None:
    return None if positions.kind == "none" else positions.max_length
