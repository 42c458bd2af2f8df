"""transformers' translation pipeline on this engine: the forms of results, and the arguments."""

from __future__ import annotations

import importlib.util
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import transformers

import pytransformer
from checkpoints import MarianCheckpoint, make_marian
from pipeline_cases import ONE, SHORT, TEXTS, THREE, TWO, generate
from pytransformer import OptionError, Translator
from pytransformer.pipelines import LazyResults, TranslationPipeline, pipeline


class Texts:
    """A dataset as torch and transformers know them: by number, and not iterable."""

    def __len__(self) -> int:
        return len(TEXTS)

    def __getitem__(self, index: int) -> str:
        return TEXTS[index]


@pytest.fixture(scope="module")
def translator(marian: MarianCheckpoint) -> Translator:
    return Translator(marian.path)


@pytest.fixture(scope="module")
def pipe(translator: Translator) -> TranslationPipeline:
    return pipeline("translation", translator, **SHORT)


@pytest.fixture(scope="module")
def multilingual(tmp_path_factory: pytest.TempPathFactory) -> Translator:
    path = tmp_path_factory.mktemp("multilingual")
    return Translator(make_marian(path, languages=("de", "en", "fr")).path)


def texts() -> Iterator[str]:
    yield from TEXTS


def expected_texts(translator: Translator, texts: list[str]) -> list[str]:
    # max_length counts the start token, and the end token that is forced at the limit.
    return translator.translate(texts, beam_size=4, max_decoding_length=12)


class TestForms:
    """Each form was recorded from transformers 4.57.1."""

    def test_text_gives_a_list(self, pipe: TranslationPipeline, translator: Translator) -> None:
        (text,) = expected_texts(translator, [ONE])
        assert text
        assert pipe(ONE) == [{"translation_text": text}]

    def test_texts_give_a_flat_list(
        self, pipe: TranslationPipeline, translator: Translator
    ) -> None:
        expected = [{"translation_text": text} for text in expected_texts(translator, TEXTS)]
        assert pipe(TEXTS) == expected
        assert pipe(tuple(TEXTS)) == expected
        assert pipe([ONE]) == expected[:1]
        assert pipe([]) == []

    def test_several_translations_of_each(self, pipe: TranslationPipeline) -> None:
        alone = [pipe(text, num_return_sequences=3) for text in TEXTS]
        assert [len(records) for records in alone] == [3, 3, 3]
        assert alone[0][0] == pipe(ONE)[0]
        assert len({record["translation_text"] for record in alone[0]}) > 1
        assert pipe(TEXTS, num_return_sequences=3) == alone
        assert pipe([ONE], num_return_sequences=3) == alone[:1]

    def test_lists_in_a_list(self, pipe: TranslationPipeline) -> None:
        one, two, three = pipe(TEXTS)
        assert pipe([[ONE], [TWO]]) == [[one], [two]]
        assert pipe([ONE, [TWO]]) == [[one], [two]]
        # transformers returns the first of them only.
        assert pipe([[ONE, TWO], [THREE]]) == [[one, two], [three]]

    @pytest.mark.parametrize(
        "inputs",
        [texts, lambda: iter(TEXTS), Texts],
        ids=["generator", "iterator", "dataset"],
    )
    def test_what_is_read_step_by_step(
        self, pipe: TranslationPipeline, inputs: Callable[[], Any]
    ) -> None:
        found = pipe(inputs())
        assert isinstance(found, LazyResults)
        assert list(found) == [[record] for record in pipe(TEXTS)]
        several = pipe(inputs(), num_return_sequences=2)
        assert list(several) == [pipe(text, num_return_sequences=2) for text in TEXTS]

    def test_token_ids(self, pipe: TranslationPipeline, marian: MarianCheckpoint) -> None:
        for options in ({}, {"num_return_sequences": 3}, {"num_beams": 1}, {"max_length": 5}):
            expected = generate(marian, THREE, **{**SHORT, **options})
            found = [
                record["translation_token_ids"]
                for record in pipe(THREE, return_tensors=True, **options)
            ]
            assert [ids.tolist() for ids in found] == expected
            assert all(ids.dtype == np.int64 for ids in found)
        for records, text in zip(pipe(TEXTS, return_tensors=True), TEXTS, strict=True):
            assert list(records) == ["translation_token_ids"]
            assert [records["translation_token_ids"].tolist()] == generate(marian, text, **SHORT)

    def test_token_ids_decode_to_the_text(
        self, pipe: TranslationPipeline, marian: MarianCheckpoint
    ) -> None:
        (record,) = pipe(ONE, return_tensors=True, return_text=True)
        text = marian.tokenizer.decode(record["translation_token_ids"], skip_special_tokens=True)
        assert pipe(ONE, return_text=False) == [{"translation_text": text.strip()}]

    def test_ids_of_a_translation_cut_short_have_no_end(self, tmp_path: Path) -> None:
        checkpoint = make_marian(
            tmp_path, forced_eos_token_id=None, generation={"forced_eos_token_id": None}
        )
        found = pipeline("translation", tmp_path)(
            THREE, return_tensors=True, max_length=4, num_beams=1
        )
        (expected,) = generate(checkpoint, THREE, max_length=4, num_beams=1)
        assert expected[-1] != checkpoint.model.config.eos_token_id
        assert found[0]["translation_token_ids"].tolist() == expected

    def test_text2text_generation(self, pipe: TranslationPipeline, translator: Translator) -> None:
        other = pipeline("text2text-generation", model=translator, **SHORT)
        (record,) = pipe(ONE)
        assert other(ONE) == [{"generated_text": record["translation_text"]}]
        assert list(other(ONE, return_tensors=True)[0]) == ["generated_token_ids"]

    def test_text_is_one_sentence(self, pipe: TranslationPipeline) -> None:
        assert pipe(f"{ONE}\n{TWO}") == pipe(f"{ONE} {TWO}")
        assert pipe(["", ONE, " \n"])[::2] == [{"translation_text": ""}] * 2

    def test_spaces_are_cleaned_up(
        self, pipe: TranslationPipeline, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(type(pipe.tokenizer), "decode", lambda self, ids: "Yes , it is n't .")
        assert pipe(ONE)[0]["translation_text"] == "Yes , it is n't ."
        assert (
            pipe(ONE, clean_up_tokenization_spaces=True)[0]["translation_text"] == "Yes, it isn't."
        )

    @pytest.mark.parametrize(
        "wrong",
        [
            None,
            3,
            b"Hund",
            bytearray(b"Hund"),
            {"text": ONE},
            [None],
            [ONE, 3],
            [(ONE, TWO)],
            [[[ONE]]],
        ],
    )
    def test_what_is_no_text_is_refused(self, pipe: TranslationPipeline, wrong: Any) -> None:
        with pytest.raises(TypeError, match="expected a string, a list of strings"):
            pipe(wrong)


class TestLazyResults:
    def test_stream_is_read_no_further_than_its_results(self, pipe: TranslationPipeline) -> None:
        read: list[str] = []

        def stream() -> Iterator[str]:
            for text in TEXTS:
                read.append(text)
                yield text

        found = iter(pipe(stream()))
        assert read == []
        assert next(found) == pipe(ONE)
        assert read == [ONE]
        found = iter(pipe(stream(), batch_size=2))
        read.clear()
        assert next(found) == pipe(ONE)
        assert read == [ONE, TWO]

    def test_length_is_that_of_the_inputs(self, pipe: TranslationPipeline) -> None:
        assert len(pipe(Texts())) == len(TEXTS)
        with pytest.raises(TypeError, match="has no len"):
            len(pipe(iter(TEXTS)))

    def test_dataset_may_be_read_again(self, pipe: TranslationPipeline) -> None:
        found = pipe(Texts())
        assert list(found) == list(found) == [[record] for record in pipe(TEXTS)]

    def test_wrong_arguments_are_refused_at_once(self, pipe: TranslationPipeline) -> None:
        with pytest.raises(OptionError, match="num_beams is 0"):
            pipe(iter(TEXTS), num_beams=0)

    def test_wrong_text_is_refused_when_it_is_its_turn(self, pipe: TranslationPipeline) -> None:
        found = iter(pipe(iter([ONE, 3])))
        assert next(found) == pipe(ONE)
        with pytest.raises(TypeError, match="int"):
            next(found)


class TestLanguages:
    def test_are_given_by_argument_or_task(self, multilingual: Translator) -> None:
        by_language = {
            language: pipeline("translation", multilingual, **SHORT)(ONE, tgt_lang=language)
            for language in ("de", "en", "fr")
        }
        assert len({str(records) for records in by_language.values()}) > 1
        for language, records in by_language.items():
            plain = pipeline("translation", multilingual, **SHORT)
            assert plain(f">>{language}<< {ONE}") == records
            assert pipeline(f"translation_de_to_{language}", multilingual, **SHORT)(ONE) == records
            fixed = pipeline("translation", multilingual, tgt_lang=language, **SHORT)
            assert fixed(ONE) == records
            assert fixed([ONE, ""]) == [records[0], {"translation_text": ""}]
            assert fixed(ONE, tgt_lang="en") == by_language["en"]

    def test_arguments_win_over_the_task(self, multilingual: Translator) -> None:
        fixed = pipeline("translation_de_to_fr", multilingual, tgt_lang="en", **SHORT)
        assert fixed(ONE) == pipeline("translation_de_to_en", multilingual, **SHORT)(ONE)

    def test_unknown_ones_are_refused_at_once(self, multilingual: Translator) -> None:
        with pytest.raises(OptionError, match=r"'xx'.*de, en, fr"):
            pipeline("translation_de_to_xx", multilingual)
        with pytest.raises(OptionError, match=r"'xx'.*de, en, fr"):
            pipeline("translation", multilingual)([], tgt_lang="xx")


class TestOpening:
    def test_attributes(self, marian: MarianCheckpoint) -> None:
        pipe = pipeline("translation_de_to_en", str(marian.path))
        assert pipe.task == "translation_de_to_en"
        assert isinstance(pipe.model, Translator)
        assert pipe.model.model_path == str(marian.path)
        assert pipe.device == "cpu"
        assert pipe.tokenizer.decode(pipe.tokenizer.target_ids(["▁dog"])) == "dog"

    def test_settings_of_the_translator(
        self, marian: MarianCheckpoint, translator: Translator
    ) -> None:
        pipe = pipeline(model=marian.path, compute_type="int8", inter_threads=2, intra_threads=1)
        assert (pipe.model.compute_type, pipe.model.inter_threads) == ("int8", 2)
        assert list(pipe(Texts())) == [[record] for record in pipe(TEXTS)]
        with pytest.raises(OptionError, match=r"open already.* compute_type"):
            pipeline("translation", translator, compute_type="int8")

    @pytest.mark.parametrize(
        ("task", "message"),
        [
            ("translate", "unknown task 'translate', available tasks are .*translation_XX_to_YY"),
            ("summarization", "unknown task 'summarization', available tasks are translation"),
            ("translation_de", "invalid translation task 'translation_de', .*translation_XX_to_YY"),
            ("translation_de_in_en", "invalid translation task"),
            ("translation_de_to_en_x", "invalid translation task"),
            (None, "unknown task None"),
        ],
    )
    def test_unknown_tasks(self, translator: Translator, task: Any, message: str) -> None:
        with pytest.raises(KeyError, match=message):
            pipeline(task, translator)
        with pytest.raises(KeyError, match=message):
            TranslationPipeline(translator, task)

    @pytest.mark.parametrize("device", [None, "cpu", -1, torch.device("cpu")])
    def test_processor_is_a_device(self, translator: Translator, device: Any) -> None:
        assert pipeline("translation", translator, device=device).device == "cpu"

    @pytest.mark.parametrize(
        "device", [0, 1, "cuda", "cuda:0", "mps", torch.device("cuda", 0), True]
    )
    def test_other_devices_are_refused(self, translator: Translator, device: Any) -> None:
        with pytest.raises(OptionError, match=r"device is .*CPUs only"):
            pipeline("translation", translator, device=device)
        with pytest.raises(OptionError, match=r"device_map is .*CPUs only"):
            pipeline("translation", translator, device_map={"": device})
        assert pipeline("translation", translator, device_map="auto")

    def test_what_has_no_meaning_is_accepted(self, translator: Translator) -> None:
        plain = pipeline("translation", translator, **SHORT)
        pipe = pipeline(
            "translation",
            translator,
            framework="pt",
            use_fast=True,
            torch_dtype=torch.float16,
            dtype="auto",
            revision="main",
            token=False,
            trust_remote_code=True,
            model_kwargs={"low_cpu_mem_usage": True},
            num_workers=2,
            **SHORT,
        )
        assert pipe(ONE, num_workers=0) == plain(ONE)

    def test_tokenizer_is_the_models(
        self, translator: Translator, marian: MarianCheckpoint, tmp_path: Path
    ) -> None:
        for own in (marian.path, str(marian.path) + os.sep, marian.tokenizer):
            assert pipeline("translation", translator, tokenizer=own)
        for other in (tmp_path, "bert-base-uncased", object()):
            with pytest.raises(OptionError, match=r"tokenizer is .*model's own"):
                pipeline("translation", translator, tokenizer=other)

    def test_wrong_models(self, marian: MarianCheckpoint, tmp_path: Path) -> None:
        with pytest.raises(FileNotFoundError, match="nowhere"):
            pipeline("translation", tmp_path / "nowhere")
        with pytest.raises(TypeError):
            pipeline("translation", marian.model)  # type: ignore[arg-type]

    def test_is_part_of_the_package(self) -> None:
        assert pytransformer.pipeline is pipeline


def _plain(found: Any) -> Any:
    """Results with arrays as lists, without what pads them, and with texts stripped."""
    if isinstance(found, dict):
        return {name: _plain(value) for name, value in found.items()}
    if isinstance(found, str):
        return found.strip()
    if hasattr(found, "tolist"):
        ids = found.tolist()
        return ids[:1] + [token for token in ids[1:] if token != ids[0]]
    return [_plain(item) for item in found]


@pytest.mark.skipif(
    importlib.util.find_spec("transformers.pipelines.text2text_generation") is None,
    reason=f"transformers {transformers.__version__} has no translation pipeline; 4 has",
)
@pytest.mark.parametrize("task", ["translation", "translation_de_to_en", "text2text-generation"])
def test_side_by_side_with_transformers(marian: MarianCheckpoint, task: str) -> None:
    theirs = transformers.pipeline(task, model=str(marian.path), device="cpu", num_beams=4)
    ours = pipeline(task, model=str(marian.path), device="cpu", num_beams=4)
    many = {"num_return_sequences": 3, "max_new_tokens": 9}
    for options in ({"max_new_tokens": 9}, many, {**many, "return_tensors": True}):
        for inputs in (ONE, TEXTS, [ONE], [], [[ONE], TWO]):
            assert _plain(ours(inputs, **options)) == _plain(theirs(inputs, **options))
        found, expected = (pipe(texts(), **options) for pipe in (ours, theirs))
        assert _plain(found) == _plain(expected)
