"""`replace_unknowns`: the source token that is attended to most stands in place of <unk>."""

from __future__ import annotations

import pytest

from bundled import GERMAN
from pytransformer import Translator

UNKNOWN = "<unk>"


@pytest.fixture(scope="module")
def translator() -> Translator:
    return Translator(intra_threads=1)


@pytest.mark.parametrize("cut", [0, 1, 3])
def test_unknown_tokens_are_replaced(translator: Translator, cut: int) -> None:
    """Nothing but <unk> is allowed, so every token is one."""
    sources = [translator.tokenizer.encode(line, tgt_lang="en") for line in GERMAN[:6]]
    options = {"allowed_tokens": [UNKNOWN], "min_decoding_length": 5, "max_decoding_length": 5}
    results = translator.translate_batch(
        sources, **options, max_input_length=cut, return_attention=True, replace_unknowns=True
    )
    plain = translator.translate_batch(sources, **options, max_input_length=cut)
    for source, result, other in zip(sources, results, plain, strict=True):
        assert other.hypotheses == [[UNKNOWN] * 5]
        read = [*(source[:cut] if cut else source), "</s>"]
        attention = result.attention[0]
        assert attention.shape == (5, len(read))
        # Neither the end token nor the language's, if there are others.
        places = [i for i, token in enumerate(read) if token not in (">>en<<", "</s>")] or [0]
        names = [read[places[i]] for i in attention[:, places].argmax(axis=1)]
        assert result.hypotheses == [names]
        assert result.ids == other.ids


def test_text_holds_the_source_tokens(translator: Translator) -> None:
    line = "Ein Hund läuft durch den Schnee."
    options = {"allowed_tokens": [UNKNOWN], "min_decoding_length": 3, "max_decoding_length": 3}
    replaced = translator.translate(line, tgt_lang="en", **options, replace_unknowns=True)
    assert "⁇" not in replaced
    assert any(word in replaced for word in ("Ein", "Hund", "läuft", "durch", "den", "Schnee"))
    assert translator.translate(line, tgt_lang="en", **options) == ""  # as in transformers


def test_other_tokens_stay(translator: Translator) -> None:
    plain = translator.translate(GERMAN, tgt_lang="en")
    assert translator.translate(GERMAN, tgt_lang="en", replace_unknowns=True) == plain
