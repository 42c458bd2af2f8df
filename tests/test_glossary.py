"""Terms with a given translation: where they are found, and that they are in the result."""

from __future__ import annotations

from collections import UserDict
from pathlib import Path
from typing import Any

import pytest

from bundled import GERMAN, bundled_model, corpus
from pytransformer import OptionError, Translator
from pytransformer.glossary import Glossary, GlossaryMode

MODES: tuple[GlossaryMode, ...] = ("phrases", "placeholders")
TERMS = {
    "Hund": "wolf",
    "Schnee": "sand",
    "Mann": "gentleman",
    "Frau": "lady",
    "Männer": "guys",
    "Kinder": "pupils",
    "Straße": "avenue",
    "Wasser": "sea",
    "Junge": "lad",
    "Mädchen": "lass",
}


@pytest.fixture(scope="module")
def translator() -> Translator:
    return Translator(bundled_model())


def found(terms: dict[str, str], line: str, translator: Translator) -> list[str]:
    """The translations of the terms that are in a line, in order."""
    return list(Glossary(terms).apply(line, translator.tokenizer).phrases)


class TestTerms:
    """What is found; no model has a part in it, but for the letters of placeholders."""

    @pytest.mark.parametrize(
        ("line", "expected"),
        [
            ("der Hund läuft", ["dog"]),
            ("Hund", ["dog"]),
            ("Hund.", ["dog"]),
            ("(Hund)", ["dog"]),
            ("Hund-Katze", ["dog"]),
            ("Hund, Hund und Hund", ["dog"]),
            ("Hunde", []),
            ("Dachshund", []),
            ("BHund", []),
            ("Hund_1", []),
            ("Hund1", []),
            ("Hundé", []),
            ("hund HUND", []),
            ("", []),
        ],
    )
    def test_whole_words_as_they_are_spelt(
        self, translator: Translator, line: str, expected: list[str]
    ) -> None:
        assert found({"Hund": "dog"}, line, translator) == expected

    @pytest.mark.parametrize(
        ("terms", "line", "expected"),
        [
            (["alt", "alt Haus"], "ein alt Haus", ["ALT HAUS"]),
            (["alt Haus", "alt"], "alt Haus, alt", ["ALT HAUS", "ALT"]),
            # The longest counts, even where a shorter one begins before it.
            (["a b", "b c d"], "a b c d", ["B C D"]),
            (["a b", "b c d", "a"], "a b c d", ["A", "B C D"]),
            (["a b", "b c"], "a b c", ["A B"]),
            (["a b", "b a"], "a b a b a", ["A B"]),
            (["b", "a"], "a b a", ["A", "B"]),
        ],
    )
    def test_longest_of_those_that_overlap(
        self, translator: Translator, terms: list[str], line: str, expected: list[str]
    ) -> None:
        assert found({term: term.upper() for term in terms}, line, translator) == expected

    @pytest.mark.parametrize(
        "term", ["C++", "a.b", "(x)", "[1]", "$5", "^", "a|b", "\\d", "x*", "½", "#1", "Straße"]
    )
    def test_characters_that_mean_something_in_patterns(
        self, translator: Translator, term: str
    ) -> None:
        assert found({term: "yes"}, f"so {term} ist", translator) == ["yes"]
        assert found({term: "yes"}, "so axb, C, xx 1 5 ist", translator) == []

    def test_spaces_around_terms_do_not_count(self, translator: Translator) -> None:
        assert found({" Hund\t": " dog "}, "ein Hund da", translator) == ["dog"]

    def test_same_translation_is_asked_for_once(self, translator: Translator) -> None:
        assert found({"Hund": "dog", "Köter": "dog"}, "Hund Köter", translator) == ["dog"]

    def test_many_terms(self, translator: Translator) -> None:
        terms = {f"Wort{i}": f"word {i}" for i in range(20_000)}
        assert found(terms, "Wort7 und Wort19999, Wort20000", translator) == [
            "word 7",
            "word 19999",
        ]

    def test_placeholders(self, translator: Translator) -> None:
        glossary = Glossary({"Hund": r"\1 dog", "Katze": "cat"}, "placeholders")
        line = glossary.apply("Hund, Katze und Hund X1", translator.tokenizer)
        names = list(line.placeholders)
        assert line.source == f"{names[0]}, {names[1]} und {names[0]} X1"
        assert "X1" not in names
        assert line.phrases == names
        assert line.restored(f"{names[1]} {names[0]}2 {names[0]}.") == f"cat {names[0]}2 \\1 dog."

    def test_more_terms_than_letters(self, translator: Translator) -> None:
        terms = {f"w{i}": f"t{i}" for i in range(12)}
        line = Glossary(terms, "placeholders").apply(" ".join(terms), translator.tokenizer)
        assert len(set(line.source.split())) == 12
        assert line.restored(line.source) == " ".join(terms.values())

    def test_no_letter_is_left(self, translator: Translator) -> None:
        line = "Hund " + " ".join(f"{letter}{i}" for letter in "XZQKJV" for i in range(1, 10))
        with pytest.raises(OptionError, match=r"glossary_mode placeholders: .* use .* phrases"):
            Glossary({"Hund": "dog"}, "placeholders").apply(line, translator.tokenizer)


class TestTranslate:
    @pytest.mark.parametrize("mode", MODES)
    @pytest.mark.parametrize("beam_size", [1, 4])
    def test_terms_are_in_every_translation(
        self, translator: Translator, shared_data: Path, mode: GlossaryMode, beam_size: int
    ) -> None:
        german, _ = corpus(shared_data, "multi30k/test_2016_flickr", 400)
        words = [set(line.replace(".", " ").replace(",", " ").split()) for line in german]
        chosen = [i for i, said in enumerate(words) if said & TERMS.keys()][:50]
        assert len(chosen) == 50
        results = translator.translate(
            [german[i] for i in chosen],
            tgt_lang="en",
            beam_size=beam_size,
            glossary=TERMS,
            glossary_mode=mode,
        )
        for i, result in zip(chosen, results, strict=True):
            for term in words[i] & TERMS.keys():
                assert TERMS[term] in result

    @pytest.mark.parametrize("mode", MODES)
    def test_other_lines_stay_as_they_are(self, translator: Translator, mode: GlossaryMode) -> None:
        text = "\n".join(["Ein Hund.", "", *GERMAN[6:9], "\r"])
        plain = translator.translate(text, tgt_lang="en").split("\n")
        result = translator.translate(
            text, tgt_lang="en", glossary={"Hund": "wolf"}, glossary_mode=mode
        ).split("\n")
        assert "wolf" in result[0]
        assert result[1:] == plain[1:]
        assert translator.translate(text, tgt_lang="en", glossary={}) == "\n".join(plain)

    def test_any_mapping(self, translator: Translator) -> None:
        terms = UserDict({"Hund": "wolf"})
        assert "wolf" in translator.translate("Ein Hund.", tgt_lang="en", glossary=terms)

    def test_asynchronous(self, translator: Translator) -> None:
        options: Any = {"tgt_lang": "en", "glossary": TERMS}
        pending = translator.translate_async(list(GERMAN), **options)
        assert pending.result() == translator.translate(list(GERMAN), **options)

    def test_newline_in_a_translation_does_not_make_lines(self, translator: Translator) -> None:
        result = translator.translate(
            "Ein Hund.",
            tgt_lang="en",
            glossary={"Hund": "big\ndog"},
            glossary_mode="placeholders",
        )
        assert "big dog" in result

    def test_force_phrases_hold_for_every_line(self, translator: Translator) -> None:
        lines = translator.translate(
            GERMAN[0] + "\n\n" + GERMAN[1], tgt_lang="en", force_phrases=["wolf", "old car"]
        ).split("\n")
        assert lines[1] == ""
        for line in (lines[0], lines[2]):
            assert "wolf" in line
            assert "old car" in line
        with_both = translator.translate(
            "Ein Hund.", tgt_lang="en", force_phrases=["car"], glossary={"Hund": "wolf"}
        )
        assert "car" in with_both
        assert "wolf" in with_both


class TestErrors:
    @pytest.mark.parametrize(
        ("glossary", "error", "message"),
        [
            ([("Hund", "dog")], TypeError, "glossary is list, expected a dict of str to str"),
            ("Hund", TypeError, "glossary is str"),
            ({"Hund": 3}, TypeError, "glossary holds 'Hund': 3, expected str and str"),
            ({3: "dog"}, TypeError, "glossary holds 3: 'dog'"),
            ({"": "dog"}, OptionError, "glossary holds '': 'dog', expected words in both"),
            ({"Hund": " \n"}, OptionError, "expected words in both"),
        ],
    )
    @pytest.mark.parametrize("text", ["Ein Hund.", []])
    def test_wrong_glossaries(
        self,
        translator: Translator,
        glossary: Any,
        error: type[Exception],
        message: str,
        text: Any,
    ) -> None:
        with pytest.raises(error, match=message):
            translator.translate(text, tgt_lang="en", glossary=glossary)

    def test_wrong_modes(self, translator: Translator) -> None:
        for glossary in (None, {}, {"Hund": "dog"}):
            with pytest.raises(OptionError, match="glossary_mode is 'x', expected one of phrases"):
                translator.translate(
                    "Hund",
                    tgt_lang="en",
                    glossary=glossary,
                    glossary_mode="x",  # type: ignore[call-overload]
                )

    def test_words_that_the_model_cannot_spell(self, translator: Translator) -> None:
        with pytest.raises(
            OptionError, match="cannot spell '汉字'; use glossary_mode placeholders"
        ):
            translator.translate("Ein Hund.", tgt_lang="en", glossary={"Hund": "汉字"})
        result = translator.translate(
            "Ein Hund.", tgt_lang="en", glossary={"Hund": "汉字"}, glossary_mode="placeholders"
        )
        assert "汉字" in result
        # A line without the term has no need of it.
        assert translator.translate("Katze", tgt_lang="en", glossary={"Hund": "汉字"})

    def test_sampling(self, translator: Translator) -> None:
        with pytest.raises(OptionError, match="glossary does not go with sampling"):
            translator.translate("Hund", tgt_lang="en", sampling_topk=0, glossary={"Hund": "dog"})
