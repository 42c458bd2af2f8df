"""Directories with tokenizers of NLLB, mBART, mBART-50 and Pegasus."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import sentencepiece
from transformers import AutoTokenizer

from pytransformer.loaders.huggingface_languages import MBART, MBART_50, NLLB
from tokenizer_pairs import edit_json, train, write_config

PIECES = {
    "nllb": ("sentencepiece.bpe.model", "bpe", {}),
    "mbart": ("sentencepiece.bpe.model", "unigram", {}),
    "mbart50": ("sentencepiece.bpe.model", "unigram", {}),
    "pegasus": ("spiece.model", "unigram", {"pad_id": 0, "eos_id": 1, "unk_id": 2, "bos_id": -1}),
}
MODEL_TYPES = {"nllb": "m2m_100", "mbart": "mbart", "mbart50": "mbart", "pegasus": "pegasus"}
CLASSES = {
    "nllb": "NllbTokenizer",
    "mbart": "MBartTokenizer",
    "mbart50": "MBart50Tokenizer",
    "pegasus": "PegasusTokenizer",
}
LANGUAGES = {"nllb": NLLB, "mbart": MBART, "mbart50": MBART_50, "pegasus": ()}
FAMILIES = tuple(PIECES)


def write(path: Path, name: str, lines: tuple[str, ...] = (), **config: Any) -> Path:
    """A directory with a sentencepiece model; of NLLB's tokens the ids are listed as well."""
    file, kind, ids = PIECES[name]
    write_config(path, MODEL_TYPES[name], tokenizer_class=CLASSES[name], **config)
    pieces = train(kind, lines, 3000 if lines else 320, **ids)
    (path / file).write_bytes(pieces)
    if name == "nllb":
        list_nllb(path, len(NLLB))
    return path


def list_nllb(path: Path, count: int) -> None:
    """tokenizer_config.json as transformers 4 writes it."""
    model = (path / "sentencepiece.bpe.model").read_bytes()
    size = sentencepiece.SentencePieceProcessor(model_proto=model).get_piece_size()
    flags = {"lstrip": False, "rstrip": False, "normalized": False, "single_word": False}
    mask = {**flags, "lstrip": True, "normalized": True}
    names = {0: "<s>", 1: "<pad>", 2: "</s>", 3: "<unk>"}
    names |= {size + 1 + i: code for i, code in enumerate(NLLB[:count])}
    tokens = {key: {**flags, "content": name, "special": True} for key, name in names.items()}
    tokens[size + 1 + count] = {**mask, "content": "<mask>", "special": True}
    edit_json(
        path / "tokenizer_config.json",
        added_tokens_decoder=tokens,
        additional_special_tokens=list(NLLB[:count]),
        mask_token={"__type": "AddedToken", "content": "<mask>", **mask},
    )


def save_again(path: Path, target: Path) -> Path:
    """What transformers 5 writes when it saves the directory's tokenizer: a tokenizer.json."""
    AutoTokenizer.from_pretrained(path).save_pretrained(target)
    shutil.copy(path / "config.json", target)
    return target
