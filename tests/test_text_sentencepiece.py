"""sentencepiece's models in C++ beside its own library, and the lists of tokens that use them."""

from __future__ import annotations

import itertools
import json
import random
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest
import sentencepiece

from pytransformer import tokenizers
from pytransformer.loaders.token_lists import TokenLists
from pytransformer.model_spec import TokenizerSpec
from pytransformer.tokenizers.cutters import MergedPairs
from sentencepiece_models import edited, equal_scores, fields, of_pieces, train, varint
from test_tokenizer_marian import TEXTS as MARIAN_TEXTS
from text_tools import Beside, Questions, build_driver, random_ids, random_texts, write_native
from tokenizer_pairs import TEXTS, corpus

Lines = tuple[list[str], tuple[str, ...]]


@pytest.fixture(scope="session")
def driver(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build_driver(tmp_path_factory.getbasetemp())


@pytest.fixture(scope="session")
def lines(shared_data: Path) -> Lines:
    """Lines of real text, and others, to train on."""
    some, training = corpus(shared_data)
    return some[::10], training[::6]


def assert_equal(
    driver: Path,
    path: Path,
    spec: TokenizerSpec,
    files: Mapping[str, bytes],
    size: int,
    real: Sequence[str],
) -> Beside:
    python = tokenizers.create(spec, files)
    both = Beside(python, Questions(driver), write_native(path, spec, files))
    generator = random.Random(size)
    both.assert_texts_equal([*TEXTS, *MARIAN_TEXTS, *random_texts(generator)])
    both.assert_texts_equal(real, every=3)
    both.assert_ids_equal(list(random_ids(generator, size)))
    both.assert_properties_equal(["de", "xx", "x y"])
    return both


OWN = ["<2de>", "ein", "Hund läuft", "<x>", "a", "aa", "aaa", " . "]
MODELS: dict[str, dict[str, Any]] = {
    "unigram": {},
    "pairs": {"model_type": "bpe"},
    "words": {"model_type": "word"},
    "characters": {"model_type": "char", "vocab_size": 80},
    "unigram-own": {"user_defined_symbols": OWN},
    "pairs-own": {"model_type": "bpe", "user_defined_symbols": OWN},
    "characters-own": {"model_type": "char", "vocab_size": 80, "user_defined_symbols": OWN},
    "unigram-bytes": {"byte_fallback": True},
    "pairs-bytes": {"byte_fallback": True, "model_type": "bpe"},
    "space-behind": {"treat_whitespace_as_suffix": True},
    "no-space-added": {"add_dummy_prefix": False, "model_type": "bpe"},
    "spaces-kept": {"remove_extra_whitespaces": False},
    "both": {"remove_extra_whitespaces": False, "add_dummy_prefix": False},
    "spaces-alone": {"allow_whitespace_only_pieces": True, "remove_extra_whitespaces": False},
    "as-it-is": {"normalization_rule_name": "identity"},
    "folded": {"normalization_rule_name": "nfkc_cf"},
    "control": {"control_symbols": ["<c1>", "<c2>"], "unk_surface": " ?? "},
    "names": {
        "unk_id": 3,
        "bos_id": -1,
        "eos_id": 0,
        "pad_id": 1,
        "unk_piece": "[U]",
        "eos_piece": "[E]",
    },
}


@pytest.mark.parametrize("name", MODELS)
def test_models(driver: Path, tmp_path: Path, lines: Lines, name: str) -> None:
    model = train(lines[1], **MODELS[name])
    assert_equal(driver, tmp_path / "x", *of_pieces(model), lines[0])


def test_long_texts(driver: Path, tmp_path: Path, lines: Lines) -> None:
    """Sums of so many scores are no longer exact."""
    letters = random.Random(0).choices("abcdefghijklmnop ", k=60_000)
    texts = ["q" * 30_000, "漢" * 20_000, "Hund und Katze " * 4000, "".join(letters), "0" * 30_000]
    for name in ("unigram", "unigram-own", "pairs"):
        spec, files, _ = of_pieces(train(lines[1], **MODELS[name]))
        path = write_native(tmp_path / name, spec, files)
        Beside(tokenizers.create(spec, files), Questions(driver), path).assert_texts_equal(texts)


def unused(number: int, place: int, content: bytes) -> bytes:
    """Many pieces that are not to be used."""
    is_piece = number == 1 and place > 100 and place % 5 < 2 and b"\x18" not in content
    return content + b"\x18\x05" if is_piece else content


def marked_as_it_is(number: int, place: int, content: bytes) -> bytes:
    return content + b"\x28\x00" if number == 3 else content


def with_denormalizer(model: bytes) -> bytes:
    """What normalises texts does it to translations too."""
    (own,) = (content for number, content in fields(model) if number == 3)
    return model + bytes([5 << 3 | 2]) + varint(len(own)) + own


EDITS: dict[str, Callable[[bytes], bytes]] = {
    "unused": lambda model: edited(model, unused),
    "equal-scores": lambda model: edited(model, equal_scores),
    "spaces-as-they-are": lambda model: edited(model, marked_as_it_is),
    "denormalizer": with_denormalizer,
    "self-test": lambda model: model + bytes([4 << 3 | 2, 4, 0x0A, 2, 0x0A, 0]),
}


@pytest.mark.parametrize("edit", EDITS)
@pytest.mark.parametrize("kind", ["unigram", "pairs", "words", "characters", "unigram-bytes"])
def test_edited_models(driver: Path, tmp_path: Path, lines: Lines, kind: str, edit: str) -> None:
    model = EDITS[edit](train(lines[1][:600], **{**MODELS[kind], "vocab_size": 400}))
    assert_equal(driver, tmp_path / "x", *of_pieces(model), lines[0][::3])


TOKENS = {"pieces": "x.spm", "tokens": "x.json", "end": 1, "unknown": 2}
BLANKS = {**TOKENS, "pieces": None}
ALONE = {"pieces": "x.spm", "tokens": None}


@pytest.mark.parametrize(
    ("source", "target"), [(TOKENS, TOKENS), (TOKENS, ALONE), (ALONE, TOKENS), (BLANKS, BLANKS)]
)
def test_pieces_and_tokens(
    driver: Path, tmp_path: Path, lines: Lines, source: dict[str, Any], target: dict[str, Any]
) -> None:
    model = train(lines[1])
    processor = sentencepiece.SentencePieceProcessor(model_proto=model)
    pieces = [processor.id_to_piece(i) for i in range(3, processor.get_piece_size(), 2)]
    names = [">>de<<", ">>en<<", ">>x y<<", ">><<", "de"]
    tokens = [None, "</s>", "<unk>", *names, *pieces, None, *pieces[:9]]
    files = {"x.spm": model, "x.json": json.dumps(tokens).encode()}
    spec = TokenizerSpec("marian_vocabulary", {"source": source, "target": target})
    both = assert_equal(driver, tmp_path / "x", spec, files, len(tokens) + 2, lines[0])
    if source["tokens"] is not None:
        assert both.python.target_languages == ("de", "en")
        both.assert_texts_equal([*MARIAN_TEXTS, *lines[0][::9]], ("", "de"))


def learn(lines: Sequence[str], count: int, end_is_separate: bool) -> list[tuple[str, str]]:
    """The pairs of neighbours that are merged first."""
    words = Counter(word for line in lines for word in line.split())
    symbols = {
        word: [*word, "</w>"] if end_is_separate else [*word[:-1], word[-1] + "</w>"]
        for word in words
    }
    learnt: list[tuple[str, str]] = []
    for _ in range(count):
        pairs: Counter[tuple[str, str]] = Counter()
        for word, parts in symbols.items():
            for pair in itertools.pairwise(parts):
                pairs[pair] += words[word]
        best = pairs.most_common(1)[0][0]
        learnt.append(best)
        for word, parts in symbols.items():
            text = "\n".join(parts)
            if "\n".join(best) in text:
                text = f"\n{text}\n".replace("\n{}\n{}\n".format(*best), "\n{}{}\n".format(*best))
                symbols[word] = text.strip("\n").split("\n")
    return learnt


VERSION = "#version: 0.2\n"


def write_codes(name: str, lines: Sequence[str]) -> bytes:
    """A file of codes: where the pairs come from, and how they are written."""
    pairs = learn(lines[:300], 120, name == "old")
    form = {"fast": "{} {} 7\n", "old": "{} {}\r\n", "twice": "{0} {1}\n{0} {1}\n\n"}
    if name == "shuffled":
        random.Random(0).shuffle(pairs)
    head = "" if name in ("fast", "old") else VERSION
    return (head + "".join(form.get(name, "{} {}\n").format(*pair) for pair in pairs)).encode()


@pytest.mark.parametrize("name", ["new", "fast", "old", "twice", "shuffled"])
def test_lists_with_codes(driver: Path, tmp_path: Path, lines: Lines, name: str) -> None:
    codes = write_codes(name, lines[1])
    cutter = MergedPairs(codes)
    found = Counter(token for line in lines[1] for token in cutter.cut(line))
    tokens = ["<unk>", "<s>", "</s>", *(token for token, _ in found.most_common(600)), "ein"]
    frames = [("</s>", True, False, False), ("<s>", False, True, False), ("<s>", True, True, True)]
    for start, ends, begins, adds_begin in frames:
        lists = TokenLists(tokens, tokens[:-99], "<unk>", "<s>", "</s>", start, ends, begins)
        beside = {"source.bpe": codes, "target.bpe": codes}
        if name == "fast":
            beside = {"source.bpe": codes, "target.spm": train(lines[1])}
        spec, files = lists.tokenizer(Path("x"), beside)
        settings = {**spec.settings, "add_source_bos": adds_begin}
        spec = TokenizerSpec(spec.kind, settings)
        assert_equal(driver, tmp_path / "x", spec, files, len(tokens), lines[0][::3])


def test_words(driver: Path, tmp_path: Path, lines: Lines) -> None:
    """Without codes; and tokens alone, where the settings do not say that these are words."""
    words = Counter(word for line in lines[1] for word in line.split())
    tokens = ["<unk>", "<s>", "</s>", *(word for word, _ in words.most_common(600)), "ein"]
    lists = TokenLists(tokens, tokens, "<unk>", "<s>", "</s>", "</s>", True)
    spec, files = lists.tokenizer(Path("x"), {})
    assert_equal(driver, tmp_path / "x", spec, files, len(tokens), lines[0])
    spec = TokenizerSpec(spec.kind, {**spec.settings, "splits_words": False})
    questions = Questions(driver)
    questions.open(write_native(tmp_path / "y", spec, files))
    questions.encode("a")
    questions.decode([3])
    questions.tokens("source_ids", [tokens[5], "no such token"])
    _, encoded, decoded, ids = questions.answers()
    assert encoded.kind == decoded.kind == "OptionError"
    assert "nothing that cuts text" in encoded.message
    assert ids == [5, 0, 2]
