"""Marian's own models: `model.npz`, and its binary form, in which Bergamot's and Firefox's come.

The model's options lie inside, as `special:model.yml`, or beside it, as `model.npz.yml`. Defaults
of decoding and the names of the vocabularies come from the configuration of its decoder
(`model.npz.decoder.yml`, `decoder.yml`, `config.yml`) if there is one. What the numbers mean was
compared with pymarian 1.12.42 and Bergamot 0.4.5.
"""

from __future__ import annotations

import dataclasses
import warnings
from pathlib import Path

from pytransformer.errors import CheckpointError, UnsupportedModelError
from pytransformer.loaders.huggingface import Settings
from pytransformer.loaders.marian_binary import BinaryFile, is_binary
from pytransformer.loaders.marian_files import (
    Vocabulary,
    find_decoder,
    find_model,
    find_vocabularies,
    is_model,
)
from pytransformer.loaders.marian_options import (
    MAX_LENGTH,
    Architecture,
    of_the_model,
    read_architecture,
)
from pytransformer.loaders.marian_parameters import POSITIONS, also_allowed, plan_tensors
from pytransformer.loaders.marian_vocabularies import read_vocabularies
from pytransformer.loaders.marian_yaml import MAX_SETTINGS_BYTES, parse_settings, read_settings
from pytransformer.loaders.npz_file import NpzFile
from pytransformer.loaders.tensor_plan import bind
from pytransformer.loaders.tensor_source import FloatArray, TensorSource
from pytransformer.model_spec import (
    NO_TOKEN,
    Checkpoint,
    GenerationSpec,
    ModelSpec,
    PositionSpec,
    StackSpec,
    TokenizerSpec,
)
from pytransformer.tokenizers.marian_vocabulary import MarianVocabularyTokenizer

DESCRIPTION = (
    "a model of Marian, Bergamot or Firefox: a .npz or .bin file, or a folder that holds one, with "
    "its vocabularies (.spm or .yml) beside it"
)

_OPTIONS = "special:model.yml"
# Marian's own default, and what Bergamot's and Firefox's models, which have no configuration, use.
_BEAM_SIZE, _BEAM_SIZE_ALONE = 12, 1
# Options of decoders that change translations and are not supported, unless they are off.
_MUST_BE_OFF = (
    "word-penalty", "output-sampling", "output-approx-knn", "force-decode", "no-spm-decode",
    "no-spm-encode", "right-left",
)  # fmt: skip


def recognises(path: Path) -> bool:
    """Whether this is a model of Marian, or a folder with one."""
    return any(map(is_model, path.iterdir())) if path.is_dir() else is_model(path)


def load(path: Path) -> Checkpoint:
    """Reads a model or a folder; see :func:`pytransformer.loaders.load`."""
    model = find_model(path)
    source = BinaryFile(model) if is_binary(model) else NpzFile(model)
    has_integers = isinstance(source, BinaryFile) and source.has_integers
    decoder = find_decoder(model)
    return build(
        model,
        source=_Tensors(source),
        options=_read_options(model, source),
        decoder=decoder or Settings({"beam-size": _BEAM_SIZE_ALONE}, model),
        vocabularies=find_vocabularies(model, decoder),
        compute_type="int8" if has_integers else "float32",
    )


def build(
    path: Path,
    *,
    source: TensorSource,
    options: Settings,
    decoder: Settings,
    vocabularies: tuple[Vocabulary, Vocabulary],
    compute_type: str,
) -> Checkpoint:
    """The checkpoint of tensors by Marian's names; `path` names them in errors.

    `options` are those of the model, `decoder` those of decoding.
    """
    architecture = _with_learned_positions(read_architecture(options), source)
    spec = architecture.spec
    plan = dict(plan_tensors(architecture, source))
    tensors = bind(path, source, plan, also_allowed(source), described_by=_OPTIONS)
    sizes = (spec.encoder.vocab_size, spec.decoder.vocab_size)
    settings, files = read_vocabularies(*vocabularies, sizes)
    tokenizer = MarianVocabularyTokenizer(settings, files)
    _check_sizes(tokenizer, vocabularies, sizes)
    return Checkpoint(
        family="marian",
        model=spec,
        generation=_generation(decoder, tokenizer, spec),
        tokenizer=TokenizerSpec("marian_vocabulary", settings),
        tensors=tensors,
        files=files,
        compute_type=compute_type,
    )


def _read_options(model: Path, source: NpzFile | BinaryFile) -> Settings:
    if _OPTIONS in source.shapes:
        # Marian fills up with NULs.
        content = source.read_bytes(_OPTIONS, MAX_SETTINGS_BYTES).partition(b"\0")[0]
        return parse_settings(content, model / _OPTIONS)
    beside = model.with_name(f"{model.name}.yml")
    if not beside.is_file():
        raise CheckpointError(
            f"{model}: does not say what model it is; expected {_OPTIONS} in it, or {beside.name} "
            "beside it"
        )
    return of_the_model(read_settings(beside))


class _Tensors:
    """The tensors of a file, without the text that Marian stores among them."""

    def __init__(self, source: TensorSource) -> None:
        self._source = source
        self.shapes = {name: shape for name, shape in source.shapes.items() if name != _OPTIONS}

    def dtype(self, name: str) -> str:
        return self._source.dtype(name)

    def read(self, name: str) -> FloatArray:
        return self._source.read(name)


def _with_learned_positions(architecture: Architecture, source: TensorSource) -> Architecture:
    """Where a table of positions is stored, the model was trained with it, and without a scale."""
    spec, shape = architecture.spec, source.shapes.get(POSITIONS)
    if shape is None or len(shape) != 2 or shape[0] < 2 or spec.encoder.positions.kind == "none":
        return architecture

    def learned(stack: StackSpec) -> StackSpec:
        positions = PositionSpec("learned", shape[0])
        return dataclasses.replace(stack, positions=positions, embedding_scale=1.0)

    spec = dataclasses.replace(spec, encoder=learned(spec.encoder), decoder=learned(spec.decoder))
    return dataclasses.replace(architecture, spec=spec)


def _check_sizes(
    tokenizer: MarianVocabularyTokenizer,
    vocabularies: tuple[Vocabulary, Vocabulary],
    sizes: tuple[int, int],
) -> None:
    found = (tokenizer.source_size, tokenizer.target_size)
    for vocabulary, count, size in zip(vocabularies, found, sizes, strict=True):
        # A list of tokens may be shorter than the table; pieces are the table's rows.
        if count > size or (vocabulary.tokens is None and count != size):
            raise CheckpointError(
                f"{vocabulary.tokens or vocabulary.pieces}: has {count} tokens, but the model has "
                f"{size} embeddings"
            )


def _generation(
    decoder: Settings, tokenizer: MarianVocabularyTokenizer, spec: ModelSpec
) -> GenerationSpec:
    for name in _MUST_BE_OFF:
        if decoder.get(name) not in (None, False, 0, "", []):
            raise UnsupportedModelError(
                f"{decoder.path}: the option {name} = {decoder.get(name)!r} is not supported"
            )
    if decoder.get("shortlist"):
        warnings.warn(
            f"{decoder.path}: its shortlist is not used unless it is given: Translator(path, "
            "shortlist=...)",
            stacklevel=2,
        )
    return GenerationSpec(
        decoder_start_token_id=NO_TOKEN,
        end_token_id=tokenizer.end_id,
        forced_end_token_id=None,
        suppress_token_ids=tuple(sorted(_suppressed(decoder, tokenizer, spec))),
        max_decoding_length=_reach(spec.decoder) - 1,
        beam_size=decoder.integer("beam-size", _BEAM_SIZE, minimum=1),
        length_penalty=decoder.number("normalize", 0.0),
        beam_rule="marian",
        max_length_factor=decoder.number("max-length-factor", 3.0),
    )


def _reach(stack: StackSpec) -> int:
    return stack.positions.max_length if stack.positions.kind == "learned" else MAX_LENGTH


def _suppressed(
    decoder: Settings, tokenizer: MarianVocabularyTokenizer, spec: ModelSpec
) -> set[int]:
    """What Marian never gives: <unk>, bytes of control characters; and ids without a token."""
    ids = {*tokenizer.unused_ids, *range(tokenizer.target_size, spec.decoder.vocab_size)}
    if not decoder.flag("allow-unk", False):
        ids.add(tokenizer.unknown_id)
    if not decoder.flag("allow-special", False):
        controls = tokenizer.target_ids([f"<0x{code:02X}>" for code in range(32)])
        ids.update(token_id for token_id in controls if token_id != tokenizer.unknown_id)
    return ids
