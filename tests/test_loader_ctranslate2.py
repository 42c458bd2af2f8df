"""CTranslate2's directories: what each of their attributes means, against CTranslate2 itself."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import sentencepiece

import pytransformer.ctranslate2 as dropin
from checkpoints import train_pieces
from ctranslate2_models import (
    VARIANTS,
    Variant,
    make_variables,
    model_bin,
    vocabulary,
    write_model,
)
from ctranslate2_records import CASES, read_records, run
from pytransformer import CheckpointError, OptionError, Translator, UnsupportedModelError, loaders
from pytransformer.loaders import ctranslate2
from pytransformer.model_spec import NO_TOKEN
from pytransformer.tokenizers import create

RECORDS = read_records()


def edit_config(path: Path, **changes: Any) -> None:
    config = json.loads((path / "config.json").read_text())
    (path / "config.json").write_text(json.dumps({**config, **changes}))


@pytest.mark.parametrize(("name", "kind"), CASES)
def test_same_as_ctranslate2(tmp_path: Path, name: str, kind: str) -> None:
    path = write_model(tmp_path, VARIANTS[name], kind)
    found = run(dropin, path, VARIANTS[name])
    expected = RECORDS[f"{name}/{kind}"]
    assert found["greedy"] == expected["greedy"]
    for what in ("log_probs", "attention"):
        for ours, theirs in zip(found[what], expected[what], strict=True):
            np.testing.assert_allclose(ours, theirs, atol=2e-5)


@pytest.mark.parametrize(("name", "kind"), CASES)
def test_records_are_what_ctranslate2_gives(tmp_path: Path, name: str, kind: str) -> None:
    real = pytest.importorskip("ctranslate2")
    found = run(real, write_model(tmp_path, VARIANTS[name], kind), VARIANTS[name])
    expected = RECORDS[f"{name}/{kind}"]
    assert found["greedy"] == expected["greedy"]
    for ours, theirs in zip(found["log_probs"], expected["log_probs"], strict=True):
        np.testing.assert_allclose(ours, theirs, atol=2e-5)


@pytest.mark.parametrize(
    ("kind", "default"),
    [
        ("float32", "float32"),
        ("int8", "int8"),
        ("int16", "float32"),
        ("float16", "float32"),
        ("bfloat16", "float32"),
    ],
)
def test_compute_type_is_int8_where_int8_is_stored(tmp_path: Path, kind: str, default: str) -> None:
    path = write_model(tmp_path, VARIANTS["plain"], kind)
    assert loaders.load(path).compute_type == default
    assert Translator(path).compute_type == default
    assert Translator(path, compute_type="float32").compute_type == "float32"


def test_defaults_of_decoding_are_ctranslate2s(tmp_path: Path) -> None:
    generation = loaders.load(write_model(tmp_path, VARIANTS["plain"])).generation
    assert generation.decoder_start_token_id == 1
    assert (generation.end_token_id, generation.more_end_token_ids) == (2, ())
    assert (generation.beam_size, generation.early_stopping) == (2, True)
    assert (generation.min_decoding_length, generation.max_decoding_length) == (1, 256)
    assert Translator(tmp_path).limits.defaults["max_decoding_length"] == 23


def test_zero_start(tmp_path: Path) -> None:
    checkpoint = loaders.load(write_model(tmp_path, VARIANTS["zero_start"]))
    assert checkpoint.generation.decoder_start_token_id == NO_TOKEN


def test_output_scale_is_folded(tmp_path: Path) -> None:
    with_norm = loaders.load(write_model(tmp_path / "norm", VARIANTS["buckets"]))
    assert with_norm.model.tied_output
    without = loaders.load(write_model(tmp_path / "none", VARIANTS["scaled_outputs"]))
    assert not without.model.tied_output
    output = without.tensors["output.weight"]
    np.testing.assert_allclose(output, without.tensors["shared.embedding.weight"] * np.float32(0.3))


def test_tied_matrices_need_no_alias(tmp_path: Path) -> None:
    path = write_model(tmp_path, VARIANTS["plain"])
    variables, aliases = make_variables(VARIANTS["plain"])
    variables.update({alias: variables[name] for alias, name in aliases.items()})
    (path / "model.bin").write_bytes(model_bin(variables))
    model = loaders.load(path).model
    assert (model.shared_embedding, model.tied_output) == (True, True)


def test_the_file_itself_may_be_named(tmp_path: Path) -> None:
    path = write_model(tmp_path, VARIANTS["plain"])
    checkpoint = loaders.load(path / "model.bin")
    assert checkpoint.model == loaders.load(path).model


UNSUPPORTED = {
    "decoder/alibi": 1,
    "encoder/multi_query_attention": 1,
    "decoder/sliding_window": 5,
    "decoder/final_logit_softcapping": 30.0,
    "decoder/layer_0/layer_scalar": 0.5,
    "decoder/layer_1/self_attention/num_heads_kv": 2,
    "encoder/layer_0/self_attention/rotary_dim": 2,
    "encoder/layer_0/ffn/layer_norm/layer_norm_use_residual": 1,
    "encoder/activation": 6,
    "decoder/something_new": 1,
    "encoder/layer_1/self_attention/queries_scale": 3.0,
    "encoder/layer_1/self_attention/rotary_base": 3.0,
}


@pytest.mark.parametrize("name", UNSUPPORTED)
def test_unsupported_attributes_are_named(tmp_path: Path, name: str) -> None:
    path = write_model(tmp_path, Variant(attributes={name: UNSUPPORTED[name]}))
    last = name.rpartition("/")[2]
    with pytest.raises(UnsupportedModelError, match=rf"model\.bin.*(\n.*)*{last}"):
        loaders.load(path)


@pytest.mark.parametrize(
    ("variable", "meaning"),
    [
        ("decoder/layer_0/shared_layer_norm/gamma", "side by side"),
        ("decoder/layer_0/self_attention/q_norm/gamma", "norms of queries"),
        ("decoder/project_in/weight", "another width"),
        ("encoder/embeddings_1/weight", "several features"),
        ("encoder/layer_0/ffn/linear_0/weight_zero", "AWQ"),
        ("decoder/layer_0/input_layer_norm/gamma", "both sides"),
    ],
)
def test_unsupported_parts_are_named(tmp_path: Path, variable: str, meaning: str) -> None:
    path = write_model(tmp_path, VARIANTS["plain"])
    variables, aliases = make_variables(VARIANTS["plain"])
    variables[variable] = np.ones(16, np.float32)
    (path / "model.bin").write_bytes(model_bin(variables, aliases))
    with pytest.raises(UnsupportedModelError, match=f"{variable}: .*{meaning}"):
        loaders.load(path)


@pytest.mark.parametrize(
    ("spec", "meaning"),
    [
        ("TransformerDecoderSpec", "a language model"),
        ("TransformerEncoderSpec", "an encoder"),
        ("WhisperSpec", "a speech model"),
        ("Drama3Spec", "an unknown kind"),
    ],
)
def test_other_models_are_named(tmp_path: Path, spec: str, meaning: str) -> None:
    (tmp_path / "model.bin").write_bytes(model_bin({}, spec=spec))
    with pytest.raises(UnsupportedModelError, match=f"'{spec}' is {meaning}"):
        loaders.load(tmp_path)


@pytest.mark.parametrize(("version", "revision"), [(7, 7), (6, 8), (6, 1)])
def test_other_versions_are_named(tmp_path: Path, version: int, revision: int) -> None:
    content = model_bin({}, version=version, revision=revision)
    (tmp_path / "model.bin").write_bytes(content)
    with pytest.raises(UnsupportedModelError, match="convert the model again"):
        loaders.load(tmp_path)


def test_misfits_are_listed_in_one_error(tmp_path: Path) -> None:
    path = write_model(tmp_path, VARIANTS["plain"])
    variables, aliases = make_variables(VARIANTS["plain"])
    del variables["encoder/layer_1/ffn/linear_1/bias"]
    variables["decoder/layer_1/attention/linear_2/weight"] = np.zeros((3, 4), np.float32)
    variables["decoder/layer_0/attention/extra"] = np.zeros(2, np.float32)
    (path / "model.bin").write_bytes(model_bin(variables, aliases))
    with pytest.raises(CheckpointError) as error:
        loaders.load(path)
    assert [line.strip() for line in str(error.value).splitlines()[1:]] == [
        "left over: decoder/layer_0/attention/extra (2,)",
        "missing: encoder/layer_1/ffn/linear_1/bias (16,)",
        "wrong shape: decoder/layer_1/attention/linear_2/weight is (3, 4), should be (16, 16)",
    ]


@pytest.mark.parametrize("wrong", [np.nan, np.inf])
def test_numbers_that_are_not_finite(tmp_path: Path, wrong: float) -> None:
    path = write_model(tmp_path, VARIANTS["plain"])
    variables, aliases = make_variables(VARIANTS["plain"])
    variables["decoder/layer_norm/gamma"][3] = wrong
    (path / "model.bin").write_bytes(model_bin(variables, aliases))
    with pytest.raises(CheckpointError, match=r"NaN or infinite weights:\s+decoder/layer_norm"):
        loaders.load(path)


class TestVocabularies:
    """Lists of tokens beside the model."""

    def test_text_files(self, tmp_path: Path) -> None:
        path = write_model(tmp_path, VARIANTS["plain"])
        tokens = vocabulary(23)
        (path / "shared_vocabulary.json").unlink()
        text = "\n".join(tokens) + "\n"
        for content in (text, text[:-1], text.replace("\n", "\r\n")):
            (path / "shared_vocabulary.txt").write_bytes(content.encode())
            assert ctranslate2.read(path).vocabularies.target == tokens

    def test_a_token_may_end_with_a_carriage_return(self, tmp_path: Path) -> None:
        path = write_model(tmp_path, VARIANTS["plain"])
        (path / "shared_vocabulary.json").unlink()
        tokens = [*vocabulary(22), "x\r"]
        (path / "shared_vocabulary.txt").write_bytes("\n".join(tokens).encode())
        assert ctranslate2.read(path).vocabularies.target == tokens

    def test_unknown_token_is_added(self, tmp_path: Path) -> None:
        path = write_model(tmp_path, VARIANTS["plain"])
        (path / "shared_vocabulary.json").write_text(json.dumps(vocabulary(23)[1:]))
        found = ctranslate2.read(path).vocabularies.target
        assert found == [*vocabulary(23)[1:], "<unk>"]

    def test_wrong_number_of_tokens(self, tmp_path: Path) -> None:
        path = write_model(tmp_path, VARIANTS["plain"])
        (path / "shared_vocabulary.json").write_text(json.dumps(vocabulary(22)))
        with pytest.raises(CheckpointError, match=r"shared_vocabulary\.json: 22 tokens.* for 23"):
            loaders.load(path)

    def test_none(self, tmp_path: Path) -> None:
        path = write_model(tmp_path, VARIANTS["plain"])
        (path / "shared_vocabulary.json").unlink()
        with pytest.raises(CheckpointError, match="no shared_vocabulary and no source_vocabulary"):
            loaders.load(path)

    @pytest.mark.parametrize("content", [b"{", b"[1]", b'["\\ud800"]', b"\xff", b"[" * 9999])
    def test_broken(self, tmp_path: Path, content: bytes) -> None:
        path = write_model(tmp_path, VARIANTS["plain"])
        (path / "shared_vocabulary.json").write_bytes(content)
        with pytest.raises(CheckpointError, match="shared_vocabulary"):
            loaders.load(path)

    def test_special_tokens_must_be_there(self, tmp_path: Path) -> None:
        path = write_model(tmp_path, VARIANTS["plain"])
        edit_config(path, eos_token="<end>")
        with pytest.raises(CheckpointError, match=r"there is no '<end>', by which .* end"):
            loaders.load(path)
        edit_config(path, eos_token="</s>", decoder_start_token="<begin>")
        with pytest.raises(CheckpointError, match=r"there is no '<begin>', by which .* begin"):
            loaders.load(path)

    def test_no_start_token(self, tmp_path: Path) -> None:
        path = write_model(tmp_path, VARIANTS["plain"])
        edit_config(path, decoder_start_token=None)
        with pytest.raises(UnsupportedModelError, match=r"open it with pytransformer\.ctranslate2"):
            loaders.load(path)
        assert ctranslate2.read(path).conventions.decoder_start_token is None

    def test_before_version_6_attributes_name_them(self, tmp_path: Path) -> None:
        path = write_model(tmp_path, VARIANTS["plain"])
        (path / "config.json").unlink()
        variables, aliases = make_variables(VARIANTS["plain"])
        variables["unk_token"] = np.frombuffer(b"0", np.int8)
        variables["eos_token"] = np.frombuffer(b"1", np.int8)
        variables["with_source_eos"] = np.array(1, np.int8)
        variables["with_target_bos"] = np.array(0, np.int8)
        (path / "model.bin").write_bytes(model_bin(variables, aliases, version=5))
        conventions = ctranslate2.read(path).conventions
        assert (conventions.unk_token, conventions.eos_token) == ("0", "1")
        assert (conventions.add_source_bos, conventions.add_source_eos) == (False, True)
        assert conventions.decoder_start_token == "1"
        variables["user_decoder_start_tokens"] = np.array(1, np.int8)
        (path / "model.bin").write_bytes(model_bin(variables, aliases, version=4))
        assert ctranslate2.read(path).conventions.decoder_start_token is None


class TestText:
    """Texts, where a sentencepiece model lies beside the lists."""

    def test_needs_a_sentencepiece_model(self, tmp_path: Path) -> None:
        translator = Translator(write_model(tmp_path, VARIANTS["plain"]))
        with pytest.raises(OptionError, match=r"sentencepiece\.model"):
            translator.translate("ein Hund")
        assert len(translator.translate_batch([["5", "6"]])[0].hypotheses) == 1

    @pytest.mark.parametrize("beside", [True, False])
    def test_texts_are_cut_and_joined(self, tmp_path: Path, beside: bool) -> None:
        pieces = train_pieces("de")
        processor = sentencepiece.SentencePieceProcessor()
        processor.LoadFromSerializedProto(pieces)
        tokens = [processor.id_to_piece(i) for i in range(processor.get_piece_size())]
        variant = Variant(vocab=(len(tokens), len(tokens)))
        path = write_model(tmp_path / "model", variant)
        (path / "shared_vocabulary.json").write_text(json.dumps(tokens))
        (tmp_path / ("sentencepiece.model" if beside else "model/source.spm")).write_bytes(pieces)
        if not beside:
            (path / "target.spm").write_bytes(pieces)
        translator = Translator(path)
        cut = processor.encode("ein Hund läuft", out_type=str)
        assert translator.tokenizer.encode("ein Hund läuft") == cut
        (result,) = translator.translate_batch([cut], max_decoding_length=6)
        expected = translator.tokenizer.decode(result.ids[0])
        assert translator.translate("ein Hund läuft", max_decoding_length=6) == expected

    def test_sources_end_as_the_model_wants(self, tmp_path: Path) -> None:
        path = write_model(tmp_path, VARIANTS["adds_tokens"])
        tokenizer = Translator(path).tokenizer
        assert tokenizer.source_ids(["5", "zzz"]) == [1, 8, 0, 2]
        assert tokenizer.source_ids(["<s>", "5", "</s>"]) == [1, 8, 2]
        plain = Translator(write_model(tmp_path / "plain", VARIANTS["plain"])).tokenizer
        assert plain.source_ids(["5"]) == [8]

    def test_what_a_list_of_tokens_does_not_know(self, tmp_path: Path) -> None:
        tokenizer = Translator(write_model(tmp_path, VARIANTS["post_norm"])).tokenizer
        assert tokenizer.target_ids(["t3", "s3"]) == [6, 0]
        assert tokenizer.source_tokens([0, 6]) == ["<unk>", "s3"]
        assert tokenizer.unknown_id == 0
        with pytest.raises(OptionError, match="no token has the id 26"):
            tokenizer.target_tokens([26])
        with pytest.raises(OptionError, match="src_lang is 'de'"):
            tokenizer.encode("x", src_lang="de")

    @pytest.mark.parametrize("file", ["source_vocabulary.json", "target_vocabulary.json"])
    def test_files_of_the_tokenizer(self, tmp_path: Path, file: str) -> None:
        checkpoint = loaders.load(write_model(tmp_path, VARIANTS["plain"]))
        for content in (b"{", b"{}", b'["a"]', None):
            files = {**checkpoint.files, file: content}
            files = {name: value for name, value in files.items() if value is not None}
            with pytest.raises(CheckpointError):
                create(checkpoint.tokenizer, files)
