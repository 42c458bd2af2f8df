"""Our tokenizers beside those of transformers, trained on a few made-up sentences."""

from __future__ import annotations

import functools
import gzip
import io
import json
import random
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import sentencepiece
from transformers import AutoTokenizer
from transformers.utils import logging

from pytransformer import tokenizers
from pytransformer.loaders.huggingface import Settings
from pytransformer.loaders.huggingface_seq2seq_tokenizer import read_tokenizer
from pytransformer.model_spec import TokenizerSpec
from pytransformer.tokenizers import Tokenizer

logging.set_verbosity_error()

TEXTS = [
    "",
    " ",
    "   \t\n ",
    "ein Hund läuft.",
    "  ein   Hund\tläuft\n",
    "a\u00a0dog\u2009runs\u200b.",
    "👩‍👩‍👧 🇩🇪 ½ ﬁ Ⅷ ＡＢＣ",
    "e\u0301 \u1e69 ä e\u0323\u0302 x\u0323\u0307",
    "كلب يركض \u202eabc\u202c שלום \u0600\u0661",
    "नमस्ते 한국 \u1112\u1161\u11ab กำ",
    "\x01\x02\x7f\x85\ufeff\ufffd\U0010ffff",
    "NUL \x00 inside",
    "\x00",
    "x" * 10_000,
    "läuft" * 2_000,
    "ein </s> Hund",
    "</s>",
    "</s></s>",
    "<pad> <unk>Hund<pad>",
    "< /s> </ s> <</s>> <unk",
    "<unk<unk>>",
    "ein <mask> Hund",
    "ein  <mask>  Hund<mask>",
    "＜mask＞ \x1c<mask>",
    "▁ein ▁ Hund▁▁",
    "\r\n\v\f\u2028\u2029",
    "ein\r\nHund",
    "de_DE ein en_XX",
    "__de__ ein __en__",
    "eng_Latn ein deu_Latn",
    "<mask_1> <mask_2> <unk_2>ein <unk_102>",
    "„ein“ 'Hund' it's -- 3,5 (a) [b] {c} … & | ` don't",
    "http://a.b/c?d a@b.de #x 1.000,5 %",
]
_WORDS = (
    "a the dog man woman child street snow water runs stands plays sits jumps red green small old "
    "with on in under two three people house tree ball quickly slowly and is are big blue ein der "
    "Hund Mann Frau Kind Straße Schnee Wasser läuft steht spielt sitzt springt rot grün klein alt "
    "mit auf unter zwei drei Leute Haus Baum Ball schnell langsam und ist (a) 'b' c-d 3,5 don't été"
)


class Pair:
    """Our tokenizer and transformers' for one directory."""

    def __init__(self, path: Path, size: int = 10_000) -> None:
        self.ours = open_ours(path, size)
        self.theirs: Any = AutoTokenizer.from_pretrained(path)

    def assert_equal(self, text: str, src_lang: str | None = None) -> None:
        """The same ids for a text, and the same text for these ids."""
        if src_lang is not None:
            self.theirs.src_lang = src_lang
        ids = self.theirs(text).input_ids
        assert self.ours.encode_ids(text, src_lang=src_lang) == ids
        assert self.ours.source_ids(self.ours.source_tokens(ids)) == ids
        self.assert_decodes_equal(ids)

    def assert_decodes_equal(self, ids: Sequence[int]) -> None:
        assert self.ours.decode(ids) == self.theirs.decode(ids, skip_special_tokens=True)
        assert self.ours.target_tokens(ids) == self.theirs.convert_ids_to_tokens(ids)

    def assert_random_ids_decode_equal(self) -> None:
        generator = random.Random(0)
        for _ in range(200):
            length = generator.randrange(20)
            ids = [generator.randrange(len(self.theirs)) for _ in range(length)]
            self.assert_decodes_equal(ids)

    def assert_lines_equal(self, lines: Iterable[str]) -> None:
        """The ids of every line, and every tenth as text again."""
        for number, line in enumerate(lines):
            ids = self.theirs(line).input_ids
            assert self.ours.encode_ids(line) == ids
            if number % 10 == 0:
                assert self.ours.decode(ids) == self.theirs.decode(ids, skip_special_tokens=True)


def open_ours(path: Path, source_size: int = 10_000, target_size: int | None = None) -> Tokenizer:
    """The tokenizer of a directory, after its settings have been JSON, as they are in a file."""
    config = Settings.read(path / "config.json")
    spec, files = read_tokenizer(path, config, source_size, target_size or source_size)
    settings = json.loads(json.dumps(spec.settings))
    return tokenizers.create(TokenizerSpec(spec.kind, settings), files)


def write_json(path: Path, value: Any) -> None:
    path.write_text(json.dumps(value, ensure_ascii=False), encoding="utf-8")


def edit_json(path: Path, **change: Any) -> None:
    """Overrides keys of a JSON file."""
    write_json(path, {**json.loads(path.read_text(encoding="utf-8")), **change})


def write_config(path: Path, model_type: str, **config: Any) -> None:
    """Makes the folder with a config.json; `config` are the tokenizer's own settings."""
    path.mkdir(parents=True, exist_ok=True)
    write_json(path / "config.json", {"model_type": model_type})
    write_json(path / "tokenizer_config.json", config)


def sentences() -> list[str]:
    words = _WORDS.split()
    return [
        " ".join(words[(i * k + i) % len(words)] for k in range(3, 9)) + "." for i in range(600)
    ]


@functools.cache
def train(kind: str, lines: tuple[str, ...] = (), size: int = 320, **ids: int) -> bytes:
    """A sentencepiece model, "bpe" or "unigram"; `ids` are those of its special pieces."""
    model = io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(lines or sentences()),
        model_writer=model,
        model_type=kind,
        vocab_size=size,
        hard_vocab_limit=kind == "bpe",
        character_coverage=1.0,
        minloglevel=2,
        **ids,
    )
    return model.getvalue()


def read_lines(path: Path) -> list[str]:
    with gzip.open(path, "rt", encoding="utf-8", newline="\n") as file:
        return file.read().split("\n")[:-1]


def corpus(shared_data: Path) -> tuple[list[str], tuple[str, ...]]:
    """Lines of real text, and others, to train on."""
    lines: list[str] = []
    for name in ("newstest2014.de", "newstest2014.en"):
        lines += read_lines(shared_data / "newstest" / f"{name}.gz")[::2]
    training: list[str] = []
    for language in ("de", "en", "fr", "cs"):
        captions = read_lines(shared_data / "multi30k" / f"train.{language}.gz")
        lines += captions[::20]
        training += captions[1:8000:4]
    assert len(lines) > 5000
    return lines, tuple(training)
