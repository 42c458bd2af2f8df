"""Languages by the codes of models, by ISO codes and by English names."""

from __future__ import annotations

import pytest

from pytransformer.errors import OptionError
from pytransformer.loaders.huggingface_languages import M2M100, MBART_50, NLLB
from pytransformer.tokenizers.languages import Languages

SETS = {"nllb": NLLB, "m2m100": M2M100["m2m100"], "mbart50": MBART_50}


@pytest.mark.parametrize("codes", SETS.values(), ids=SETS)
def test_every_code(codes: tuple[str, ...]) -> None:
    languages = Languages(codes)
    for code in codes:
        for spelling in (code, code.upper(), code.lower(), code.replace("_", "-"), f"__{code}__"):
            assert languages.resolve("tgt_lang", spelling) == code


@pytest.mark.parametrize("codes", SETS.values(), ids=SETS)
def test_names_and_short_codes(codes: tuple[str, ...]) -> None:
    """Where a model knows a language in one form, each of its names means that one."""
    languages = Languages(codes)
    for names in (
        "German de deu ger de_Latn",
        "English en eng",
        "French fr fra fre",
        "Romanian ro ron rum",
        "Arabic ar arb ara",
        "Persian fa pes fas per Farsi",
        "Swahili sw swh swa",
        "Latvian lv lvs lav",
        "Estonian et est ekk",
        "Hebrew he heb iw",
        "Hindi hi hin hi_Deva",
        "Tagalog tl tgl fil Filipino",
        "Burmese my mya",
        "Nepali ne npi nep",
        "Pashto ps pbt pus",
        "Mongolian mn khk mon",
    ):
        found = {languages.resolve("tgt_lang", name) for name in names.split()}
        assert len(found) == 1
        assert found <= set(codes)


@pytest.mark.parametrize(
    ("codes", "name", "code"),
    [
        (NLLB, "Scottish Gaelic", "gla_Latn"),
        (NLLB, "Tok Pisin", "tpi_Latn"),
        (NLLB, "Kabiyè", "kbp_Latn"),
        (NLLB, "Chinese (Traditional)", "zho_Hant"),
        (NLLB, "simplified chinese", "zho_Hans"),
        (NLLB, "zh_Hant", "zho_Hant"),
        (NLLB, "zh-CN", "zho_Hans"),
        (NLLB, "Cantonese", "yue_Hant"),
        (NLLB, "Norwegian Bokmål", "nob_Latn"),
        (NLLB, "Egyptian Arabic", "arz_Arab"),
        (NLLB, "ace_Arab", "ace_Arab"),
        (M2M100["m2m100"], "Northern Sotho", "ns"),
        (M2M100["m2m100"], "nso", "ns"),
        (M2M100["m2m100"], "Norwegian", "no"),
        (M2M100["m2m100"], "nob", "no"),
        (M2M100["m2m100"], "Chinese", "zh"),
        (M2M100["m2m100"], "Western Frisian", "fy"),
        (M2M100["m2m100"], "Breton", "br"),
        (MBART_50, "Chinese", "zh_CN"),
        (MBART_50, "en", "en_XX"),
        (("xx_YY", "lvk_Latn"), "xx", "xx_YY"),
        (("xx_YY", "lvk_Latn"), "LVK", "lvk_Latn"),
        (("de",), "German", "de"),
    ],
)
def test_names(codes: tuple[str, ...], name: str, code: str) -> None:
    assert Languages(codes).resolve("tgt_lang", name) == code


@pytest.mark.parametrize(
    ("name", "choices"),
    [
        ("Chinese", "zho_Hans or zho_Hant"),
        ("zh", "zho_Hans or zho_Hant"),
        ("no", "nno_Latn or nob_Latn"),
        ("Kurdish", "ckb_Arab or kmr_Latn"),
        ("ace", "ace_Arab or ace_Latn"),
    ],
)
def test_ambiguous_names(name: str, choices: str) -> None:
    with pytest.raises(OptionError, match=f"src_lang is '{name}', which may be {choices}"):
        Languages(NLLB).resolve("src_lang", name)


@pytest.mark.parametrize("name", ["", " ", "xx", "Klingon", "deu_Cyrl", "d"])
def test_unknown_names(name: str) -> None:
    for codes, known in ((NLLB, "it knows ace_Arab.* and 190 more"), (("de", "fr"), "de, fr$")):
        with pytest.raises(OptionError, match=f"tgt_lang is '{name}', which .*{known}"):
            Languages(codes).resolve("tgt_lang", name)


def test_no_languages() -> None:
    with pytest.raises(OptionError, match="has no languages to choose from"):
        Languages(()).resolve("tgt_lang", "de")
