"""Converters under CTranslate2's names: what they write opens, and translates as the original."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

import pytransformer.ctranslate2 as dropin
from checkpoints import MarianCheckpoint, copy_of, read_state, write_state
from pytransformer import Translator
from pytransformer.ctranslate2 import converters

SENTENCES = [["▁der", "▁Hund", "</s>"], ["▁und", "▁zwei", "▁Leute", "▁in", "</s>"]]


@pytest.fixture(scope="module")
def checkpoint(marian: MarianCheckpoint, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One whose start token has an embedding of zeros, as all of OPUS-MT have."""
    path = copy_of(marian, tmp_path_factory.mktemp("zero"))
    state = read_state(path)
    for name, values in state.items():
        if name.endswith(("shared.weight", "embed_tokens.weight")):
            values[-1] = 0
    write_state(path, state)
    return path


def convert(path: Path, output: Path, **options: Any) -> dropin.Translator:
    converter = converters.TransformersConverter(str(path))
    assert converter.convert(str(output), **options) == str(output)
    return dropin.Translator(str(output), intra_threads=1)


class TestTransformers:
    def test_translates_as_the_original(self, checkpoint: Path, tmp_path: Path) -> None:
        translator = convert(checkpoint, tmp_path / "out")
        ours = Translator(checkpoint)
        for beam_size in (1, 3):
            options: dict[str, Any] = {"beam_size": beam_size, "max_decoding_length": 20}
            found = translator.translate_batch(SENTENCES, **options)
            expected = ours.translate_batch(
                SENTENCES, early_stopping=True, forced_eos_token_id=None, length_penalty=1,
                min_decoding_length=1, **options,
            )  # fmt: skip
            assert [one.hypotheses[0] for one in found] == [one.hypotheses[0] for one in expected]

    def test_translates_as_ctranslate2s_conversion(self, checkpoint: Path, tmp_path: Path) -> None:
        real = pytest.importorskip("ctranslate2")
        real.converters.TransformersConverter(str(checkpoint)).convert(str(tmp_path / "theirs"))
        theirs = real.Translator(str(tmp_path / "theirs"), intra_threads=1)
        translator = convert(checkpoint, tmp_path / "ours")
        options: dict[str, Any] = {
            "max_decoding_length": 20,
            "return_scores": True,
            "min_decoding_length": 0,
        }
        for beam_size in (1, 3):
            found = translator.translate_batch(SENTENCES, beam_size=beam_size, **options)
            expected = theirs.translate_batch(SENTENCES, beam_size=beam_size, **options)
            for ours, other in zip(found, expected, strict=True):
                assert ours.hypotheses == other.hypotheses
                # There <pad>, which never comes, has no probability.
                assert ours.scores == pytest.approx(other.scores, abs=2e-2)

    def test_what_is_written(self, checkpoint: Path, tmp_path: Path) -> None:
        (tmp_path / "map.txt").write_text("\t▁the\n")
        converter = converters.TransformersConverter(str(checkpoint), copy_files=["source.spm"])
        output = tmp_path / "deep" / "out"
        converter.convert(str(output), vmap=str(tmp_path / "map.txt"), quantization="int8")
        assert {item.name for item in output.iterdir()} == {
            "config.json", "model.bin", "shared_vocabulary.json", "source.spm", "vmap.txt"
        }  # fmt: skip
        assert dropin.contains_model(str(output))
        config = json.loads((output / "config.json").read_text())
        assert config["add_source_eos"] is False
        assert (config["unk_token"], config["eos_token"]) == ("<unk>", "</s>")
        vocabulary = json.loads((output / "shared_vocabulary.json").read_text())
        assert vocabulary[:2] == ["</s>", "<unk>"]
        assert dropin.Translator(str(output)).compute_type == "int8_float32"
        # The tokenizer came along.
        text = Translator(output / "model.bin").translate("der Hund", max_decoding_length=9)
        assert isinstance(text, str)

    @pytest.mark.parametrize(
        ("quantization", "expected"),
        [
            (None, "float32"),
            ("int8_float16", "int8_float32"),
            ("int16", "float32"),
            ("float16", "float32"),
            ("bfloat16", "bfloat16"),
        ],
    )
    def test_quantization(
        self, checkpoint: Path, tmp_path: Path, quantization: str | None, expected: str
    ) -> None:
        translator = convert(checkpoint, tmp_path / "out", quantization=quantization)
        assert translator.compute_type == expected

    def test_a_directory_that_exists(self, checkpoint: Path, tmp_path: Path) -> None:
        (tmp_path / "old").touch()
        with pytest.raises(RuntimeError, match="already exists, use --force"):
            convert(checkpoint, tmp_path)
        assert (tmp_path / "old").exists()
        convert(checkpoint, tmp_path, force=True)
        assert not (tmp_path / "old").exists()

    def test_nothing_is_left_of_a_failure(self, tmp_path: Path) -> None:
        broken = tmp_path / "broken"
        broken.mkdir()
        (broken / "config.json").write_text('{"model_type": "marian"}')
        with pytest.raises(RuntimeError, match="no weights"):
            convert(broken, tmp_path / "out")
        assert [item.name for item in tmp_path.iterdir()] == ["broken"]

    @pytest.mark.parametrize(
        ("settings", "options", "message"),
        [
            ({}, {"quantization": "int3"}, "int3 is not a valid quantization type"),
            ({}, {"vmap": "/nowhere"}, "File /nowhere does not exist"),
            ({"copy_files": ["nothing"]}, {}, "File nothing does not exist in model"),
        ],
    )
    def test_wrong_arguments(
        self,
        checkpoint: Path,
        tmp_path: Path,
        settings: dict[str, Any],
        options: dict[str, Any],
        message: str,
    ) -> None:
        converter = converters.TransformersConverter(str(checkpoint), **settings)
        with pytest.raises(ValueError, match=message):
            converter.convert(str(tmp_path / "out"), **options)
        assert not (tmp_path / "out").exists()

    def test_nothing_is_downloaded(self, tmp_path: Path) -> None:
        converter = converters.TransformersConverter("Helsinki-NLP/opus-mt-de-en")
        with pytest.raises(ValueError, match="nothing is downloaded"):
            converter.convert(str(tmp_path / "out"))


def shared_folder(shared_data: Path, *names: str) -> Path:
    folder = shared_data.parent.joinpath("models", *names)
    if not folder.is_dir():
        pytest.skip(f"no models at {folder}")
    return folder


def test_opennmt_py(shared_data: Path, tmp_path: Path) -> None:
    folder = shared_folder(shared_data, "opennmt_py", "base")
    converter = converters.OpenNMTPyConverter(str(folder / "model_step_500.pt"))
    translator = dropin.Translator(converter.convert(str(tmp_path / "out")))
    recorded = json.loads((folder / "greedy.json").read_text())[:20]
    sources = [item["source_pieces"] for item in recorded]
    found = translator.translate_batch(sources, beam_size=1, max_decoding_length=100)
    assert [one.hypotheses[0] for one in found] == [item["output_pieces"] for item in recorded]


@pytest.mark.parametrize("plain", [False, True])
def test_fairseq(shared_data: Path, tmp_path: Path, plain: bool) -> None:
    folder = shared_folder(shared_data, "fairseq", "base")
    converter = converters.FairseqConverter(
        str(folder / "checkpoint_last.pt"), str(folder), no_default_special_tokens=plain
    )
    translator = dropin.Translator(converter.convert(str(tmp_path / "out")))
    recorded = json.loads((folder / "greedy.json").read_text())[:20]
    sources = [item["source"].split(" ") for item in recorded]
    options: dict[str, Any] = {"beam_size": 1, "max_decoding_length": 100}
    expected = [item["hyps"][0]["tokens"] for item in recorded]
    if not plain:
        found = translator.translate_batch(sources, **options)
        assert [one.hypotheses[0] for one in found] == expected
        return
    with pytest.raises(ValueError, match="One input has no decoder start token"):
        translator.translate_batch(sources, **options)
    ended = [[*source, "</s>"] for source in sources]
    starts = [["</s>"]] * len(sources)
    found = translator.translate_batch(ended, starts, **options)
    assert [one.hypotheses[0] for one in found] == expected
    # Each may start with another token, or go on behind it.
    mixed = [["</s>"], ["</s>", *expected[1][:2]], ["</s>", expected[2][0]]]
    found = translator.translate_batch(ended[:3], mixed, **options)
    assert [one.hypotheses[0] for one in found] == expected[:3]
    others = translator.translate_batch(ended[:2], [["</s>"], ["<s>"]], **options)
    assert others[0].hypotheses[0] == expected[0]
    scored = translator.score_batch(ended[:2], [["</s>", *tokens] for tokens in expected[:2]])
    assert [one.tokens[:-1] for one in scored] == expected[:2]


@pytest.mark.parametrize("quantization", [None, "int8"])
def test_marian(shared_data: Path, tmp_path: Path, quantization: str | None) -> None:
    folder = shared_folder(shared_data, "marian", "transformer")
    converter = converters.MarianConverter(
        str(folder / "model.npz"), [str(folder / "vocab.spm")] * 2
    )
    output = converter.convert(str(tmp_path / "out"), quantization=quantization)
    translator = dropin.Translator(output)
    tokenizer = Translator(folder).tokenizer
    lines = (folder / "source.txt").read_text().splitlines()[:50]
    sources = [tokenizer.encode(line) for line in lines]
    found = translator.translate_batch(sources, beam_size=1)
    expected = (folder / "greedy.pieces.txt").read_text().splitlines()[: len(lines)]
    said = [" ".join(one.hypotheses[0]) for one in found]
    same = sum(ours == theirs for ours, theirs in zip(said, expected, strict=True))
    assert same == len(lines) if quantization is None else same > len(lines) / 2


@pytest.mark.parametrize(
    "make",
    [
        lambda: converters.OpenNMTTFConverter.from_config("config.yml"),
        lambda: converters.OpenAIGPT2Converter("model"),
        lambda: converters.TransformersConverter("model", activation_scales="scales"),
        lambda: converters.FairseqConverter("model", "data", user_dir="code"),
    ],
)
def test_what_is_not_supported(make: Callable[[], Any]) -> None:
    with pytest.raises(NotImplementedError, match="not supported"):
        make()


@pytest.mark.parametrize(
    ("name", "arguments"),
    [
        ("marian", "--model_path m --vocab_paths v"),
        ("opus_mt", "--model_dir m"),
        ("opennmt_py", "--model_path m"),
        ("fairseq", "--model_path m --data_dir d"),
    ],
)
def test_command_lines(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, name: str, arguments: str
) -> None:
    """They take CTranslate2's arguments; here they find that there is no model."""
    module = __import__(f"pytransformer.ctranslate2.converters.{name}", fromlist=["main"])
    common = ["--output_dir", str(tmp_path / "out"), "--quantization", "int8", "--force"]
    monkeypatch.setattr(sys, "argv", ["convert", *arguments.split(), *common])
    with pytest.raises(ValueError, match=r"does not exist|no decoder\.yml"):
        module.main()


def test_command_line_of_transformers(
    monkeypatch: pytest.MonkeyPatch, checkpoint: Path, tmp_path: Path
) -> None:
    from pytransformer.ctranslate2.converters.transformers import main

    output = tmp_path / "out"
    arguments = ["--model", str(checkpoint), "--output_dir", str(output), "--quantization", "int8"]
    monkeypatch.setattr(sys, "argv", ["convert", *arguments, "--copy_files", "target.spm"])
    main()
    assert (output / "target.spm").is_file()
    assert dropin.Translator(str(output)).compute_type == "int8_float32"


def setup_module() -> None:
    torch.set_num_threads(1)
