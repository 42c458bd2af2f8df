"""What sets the tokenizers of NLLB, mBART, mBART-50 and Pegasus apart."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from pytransformer.loaders import huggingface_languages as languages
from pytransformer.loaders.huggingface import Settings
from pytransformer.loaders.huggingface_frame import END, Frame
from pytransformer.tokenizers.framed import SOURCE

_MASK = {"content": "<mask>", "lstrip": True}
_DEFAULTS: Mapping[str, Any] = {
    "bos_token": "<s>",
    "eos_token": "</s>",
    "sep_token": "</s>",
    "cls_token": "<s>",
    "unk_token": "<unk>",
    "pad_token": "<pad>",
    "mask_token": _MASK,
}
_MBART_CODE, _NLLB_CODE = "([a-z]{2,3}_[A-Z]{2})", "([a-z]{3}_[A-Z][a-z]{3})"
_FAIRSEQ = ("cls_token", "pad_token", "eos_token", "unk_token")
_PLACE_SCORE = -100.0

Scored = list[tuple[str, float]]
Layout = Callable[[Scored, Mapping[str, str], Settings], Scored]


@dataclass(frozen=True)
class Family:
    """One family of tokenizers.

    Attributes:
        file: the name of its sentencepiece model.
        merges_pairs: whether words are cut by merging pairs, or else by a unigram model.
        normalizers: what is done to texts, with a map of characters and without one.
        layout: the pieces and their scores in the order of their ids, given those of the
            sentencepiece model, the names of special tokens and tokenizer_config.json.
        frame: what stands around texts.
        special: special tokens, unless a directory lists others.
        splits_at_white_space: whether any white space separates words, or spaces only.
        defaults: the tokens that have a name.
    """

    file: str
    merges_pairs: bool
    normalizers: tuple[Sequence[str], Sequence[str]]
    layout: Layout
    frame: Frame
    special: Callable[[Settings], list[str]]
    splits_at_white_space: bool = False
    defaults: Mapping[str, Any] = field(default_factory=lambda: _DEFAULTS)


def _unscored(tokens: Sequence[str]) -> Scored:
    return [(token, 0.0) for token in tokens]


def _fairseq(pieces: Scored, names: Mapping[str, str]) -> Scored:
    """Fairseq's four special tokens, and the pieces without the three of sentencepiece."""
    return _unscored([names[key] for key in _FAIRSEQ]) + pieces[3:]


def _nllb(pieces: Scored, names: Mapping[str, str], options: Settings) -> Scored:
    """As in the models that were published: the languages and <mask> behind the pieces.

    Tokens of which the directory lists the ids come where these say.
    """
    special = _unscored([names[key] for key in _FAIRSEQ])
    ordered = list(dict([*special, *pieces]).items())
    if options.get("added_tokens_decoder") or (options.path.parent / "added_tokens.json").is_file():
        return ordered
    return ordered + _unscored([*languages.NLLB, names["mask_token"]])


def _mbart(codes: Sequence[str]) -> Layout:
    return lambda pieces, names, options: (
        _fairseq(pieces, names) + _unscored([*codes, names["mask_token"]])
    )


def _pegasus(pieces: Scored, names: Mapping[str, str], options: Settings) -> Scored:
    """The two that sentencepiece has first, those of the training, and its other pieces."""
    masks = [*_sentence_mask(options), names["mask_token"]]
    places = [(place, _PLACE_SCORE) for place in _places(options)]
    return _unscored([names["pad_token"], names["eos_token"], *masks]) + places + pieces[2:]


def _sentence_mask(options: Settings) -> list[str]:
    mask = options.values.get("mask_token_sent", "<mask_1>")
    return [] if mask is None else [options.text("mask_token_sent", "<mask_1>")]


def _places(options: Settings) -> list[str]:
    return [f"<unk_{i}>" for i in range(2, options.integer("offset", 103, maximum=2**16))]


NLLB = Family(
    file="sentencepiece.bpe.model",
    merges_pairs=True,
    normalizers=(("character_map", "single_spaces"), ()),
    layout=_nllb,
    frame=Frame((SOURCE,), (END,), _NLLB_CODE, "eng_Latn", "first_token"),
    special=lambda options: list(languages.NLLB),
    defaults={**_DEFAULTS, "mask_token": {**_MASK, "normalized": True}},
)
# With legacy_behaviour in tokenizer_config.json.
NLLB_LEGACY = dataclasses.replace(
    NLLB, frame=dataclasses.replace(NLLB.frame, before=(), behind=(END, SOURCE))
)
MBART = Family(
    file="sentencepiece.bpe.model",
    merges_pairs=False,
    normalizers=((), ()),  # the map is not used, as it was in older versions
    layout=_mbart(languages.MBART),
    frame=Frame((), (END, SOURCE), _MBART_CODE, "en_XX", "start_token"),
    special=lambda options: list(languages.MBART),
    splits_at_white_space=True,
)
MBART_50 = Family(
    file="sentencepiece.bpe.model",
    merges_pairs=False,
    normalizers=(("character_map", "single_spaces"), ("single_spaces",)),
    layout=_mbart(languages.MBART_50),
    frame=Frame((SOURCE,), (END,), _MBART_CODE, "en_XX", "first_token"),
    special=lambda options: list(languages.MBART_50),
)
PEGASUS = Family(
    file="spiece.model",
    merges_pairs=False,
    normalizers=(("character_map", "single_spaces"), ("newlines_to_spaces", "single_spaces")),
    layout=_pegasus,
    frame=Frame((), (END,)),
    special=lambda options: [*_sentence_mask(options), *_places(options)],
    defaults={
        "eos_token": "</s>",
        "unk_token": "<unk>",
        "pad_token": "<pad>",
        "mask_token": "<mask_2>",
    },
)
