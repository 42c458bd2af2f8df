"""Directories of CTranslate2: model.bin, config.json and lists of tokens.

The arithmetic is that of CTranslate2's encoder-decoder Transformer, the specification
"TransformerSpec" in its revisions 2 to 7. Attributes of the model are scalars in model.bin; one
that is not known here, or asks for what the engine lacks, is refused by name.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from pytransformer.errors import CheckpointError, UnsupportedModelError
from pytransformer.loaders.ctranslate2_attributes import Attributes, refuse_unknown
from pytransformer.loaders.ctranslate2_file import Ctranslate2File, is_model_file
from pytransformer.loaders.ctranslate2_layers import also_stored, read_model, tensor_plan
from pytransformer.loaders.ctranslate2_vocabulary import Conventions, Vocabularies
from pytransformer.loaders.huggingface import Settings
from pytransformer.loaders.tensor_plan import bind
from pytransformer.model_spec import NO_TOKEN, Checkpoint, GenerationSpec, ModelSpec, TokenizerSpec

DESCRIPTION = (
    "a CTranslate2 directory (model.bin of an encoder-decoder Transformer, lists of tokens, "
    "config.json)"
)

MODEL_FILE = "model.bin"
_OLDEST_REVISION = 2
_NEWEST_REVISION = 7
_TRANSLATES = ("TransformerSpec", "TransformerBase", "TransformerBig")
_OTHERS = {
    "TransformerDecoderSpec": "a language model without an encoder",
    "TransformerEncoderSpec": "an encoder without a decoder",
    "WhisperSpec": "a speech model",
    "Wav2Vec2Spec": "a speech model",
    "Wav2Vec2BertSpec": "a speech model",
}
# What CTranslate2 does unless a call says otherwise.
_BEAM_SIZE = 2
_MAX_DECODING_LENGTH = 256


@dataclass(frozen=True)
class ConvertedModel:
    """A converted model, and what CTranslate2 does around it."""

    checkpoint: Checkpoint
    conventions: Conventions
    vocabularies: Vocabularies


def recognises(path: Path) -> bool:
    """Whether this is a directory with a model.bin of CTranslate2's, or such a file."""
    return is_model_file(_model_file(path))


def load(path: Path) -> Checkpoint:
    """Reads the directory; see :func:`pytransformer.loaders.load`."""
    model = read(path)
    if model.conventions.decoder_start_token is None:
        raise UnsupportedModelError(
            f"{path}: decoder_start_token is null in config.json, so the first token of each "
            "target prefix starts the decoder; open it with pytransformer.ctranslate2"
        )
    return model.checkpoint


def read(path: Path) -> ConvertedModel:
    """The model, its conventions and its lists of tokens.

    Where the decoder has no start token of its own, that of `checkpoint` is the end token.
    """
    file = Ctranslate2File(_model_file(path))
    _refuse_others(file)
    directory = file.path.parent
    config = _read_config(directory)
    refuse_unknown(file)
    attributes = Attributes(file)
    conventions = Conventions.read(config, attributes, file)
    model = read_model(file, attributes, config)
    vocabularies = Vocabularies.read(
        directory, conventions, model.encoder.vocab_size, model.decoder.vocab_size
    )
    tensors = bind(
        file.path,
        file,
        tensor_plan(file, attributes, model),
        also_stored(file, model),
        "its attributes",
    )
    checkpoint = Checkpoint(
        family="ctranslate2",
        model=model,
        generation=_generation(model, attributes, conventions, vocabularies),
        tokenizer=TokenizerSpec("vocabulary_list", conventions.tokenizer_settings()),
        tensors=tensors,
        files=vocabularies.tokenizer_files(),
        compute_type="int8" if file.stores_int8 else "float32",
    )
    return ConvertedModel(checkpoint, conventions, vocabularies)


def _model_file(path: Path) -> Path:
    return path / MODEL_FILE if path.is_dir() else path


def _read_config(directory: Path) -> Settings:
    path = directory / "config.json"
    return Settings.read(path) if path.is_file() else Settings({}, path)


def _refuse_others(file: Ctranslate2File) -> None:
    if file.spec_name not in _TRANSLATES:
        what = _OTHERS.get(file.spec_name, "an unknown kind of model")
        raise UnsupportedModelError(
            f"{file.path}: the specification {file.spec_name!r} is {what}, expected an "
            "encoder-decoder Transformer, 'TransformerSpec'"
        )
    if not _OLDEST_REVISION <= file.revision <= _NEWEST_REVISION:
        raise UnsupportedModelError(
            f"{file.path}: revision {file.revision} of {file.spec_name}, expected "
            f"{_OLDEST_REVISION} to {_NEWEST_REVISION}; convert the model again"
        )


def _generation(
    model: ModelSpec, attributes: Attributes, conventions: Conventions, vocabularies: Vocabularies
) -> GenerationSpec:
    start = conventions.decoder_start_token or conventions.eos_token
    from_zero = attributes.flag("decoder/start_from_zero_embedding", default=False)
    end = vocabularies.target_id(conventions.eos_token)
    if end is None or (not from_zero and vocabularies.target_id(start) is None):
        missing = conventions.eos_token if end is None else start
        raise CheckpointError(
            f"{vocabularies.target_path}: there is no {missing!r}, by which translations "
            f"{'end' if end is None else 'begin'}"
        )
    start_id = NO_TOKEN if from_zero else vocabularies.target_id(start)
    assert start_id is not None
    return GenerationSpec(
        decoder_start_token_id=start_id,
        end_token_id=end,
        forced_end_token_id=None,
        suppress_token_ids=(),
        max_decoding_length=_MAX_DECODING_LENGTH,
        min_decoding_length=1,
        beam_size=min(_BEAM_SIZE, model.decoder.vocab_size),
        early_stopping=True,
    )
