"""What lies beside a model of Marian's: its decoder's configuration and its vocabularies."""

from __future__ import annotations

import json
import shutil
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from checkpoints import make_marian
from marian_variants import options, save, tensors, write_variant, yaml_text
from mutations import damaged, rewritten
from pytransformer import Translator
from pytransformer.errors import CheckpointError, OptionError, UnsupportedModelError
from pytransformer.loaders import load
from pytransformer.loaders.marian import recognises
from pytransformer.model_spec import NO_TOKEN

# --- files beside the model --------------------------------------------------------------------


def folder_with(path: Path, *names: str) -> Path:
    """A folder with one model under several names, and its vocabulary."""
    path.mkdir()
    model = write_variant(path, "post-norm")
    content = model.read_bytes()
    model.unlink()
    for name in names:
        (path / name).write_bytes(content)
    return path


def decoder_of(folder: Path, name: str = "decoder.yml", **values: Any) -> Path:
    lines = {key.replace("_", "-"): value for key, value in values.items()}
    (folder / name).write_text(yaml_text(lines), encoding="utf-8")
    return folder


def beam_size(path: Path) -> int:
    return load(path).generation.beam_size


def test_which_model_of_a_folder(tmp_path: Path) -> None:
    one = folder_with(tmp_path / "one", "any.npz")
    assert recognises(one)
    assert beam_size(one) == 1
    several = folder_with(tmp_path / "several", "model.npz", "b.npz", "model.npz.best-bleu.npz")
    decoder_of(several, "model.npz.decoder.yml", models=["x/model.npz"], beam_size=7)
    assert beam_size(several) == 7
    decoder_of(several, "decoder.yml", models=["/x/b.npz"], beam_size=3)
    assert beam_size(several) == 3
    assert beam_size(several / "model.npz") == 7
    assert beam_size(several / "model.npz.best-bleu.npz") == 1
    unclear = folder_with(tmp_path / "unclear", "a.npz", "b.npz")
    with pytest.raises(CheckpointError, match=r"several models, a\.npz, b\.npz; give the path"):
        load(unclear)
    assert load(unclear / "b.npz").model == load(one).model
    ensemble = decoder_of(unclear, models=["a.npz", "b.npz"])
    with pytest.raises(UnsupportedModelError, match="ensemble of 2 models"):
        load(ensemble)


def test_foreign_files_are_not_taken_for_models(tmp_path: Path) -> None:
    assert not recognises(tmp_path)
    (tmp_path / "model.npz").mkdir()
    for name in ("model.bin", "lex.bin", "x.npz"):
        (tmp_path / name).write_bytes(b"\0" * 100)
    (tmp_path / "y.npz").write_bytes(b"PK\3\4")
    assert not recognises(tmp_path)
    assert not recognises(tmp_path / "model.bin")
    assert not recognises(tmp_path / "nothing")
    with pytest.raises(CheckpointError, match="no known format"):
        load(tmp_path)


def test_model_cut_short(tmp_path: Path) -> None:
    path = write_variant(tmp_path, "post-norm")
    path.write_bytes(path.read_bytes()[:5000])
    for given in (path, tmp_path):
        with pytest.raises(CheckpointError, match=r"model\.npz: not an npz file"):
            load(given)


@pytest.mark.parametrize(
    "name", ["../vocab.yml", "/etc/../vocab.yml", "C:\\x\\vocab.yml", "./vocab.yml", "vocab.yml"]
)
def test_paths_of_another_machine(tmp_path: Path, name: str) -> None:
    """Only their last part counts, so nothing outside the folder is opened."""
    folder = decoder_of(
        folder_with(tmp_path / "x", "model.npz"), models=["model.npz"], vocabs=[name, name]
    )
    (tmp_path / "vocab.yml").write_text("nonsense", encoding="utf-8")
    load(folder)
    (folder / "vocab.yml").unlink()
    with pytest.raises(CheckpointError, match=r"decoder\.yml: names 'vocab\.yml', which is not"):
        load(folder)


@pytest.mark.parametrize("name", ["..", "x/", "a\0b", "", 7])
def test_names_that_are_none(tmp_path: Path, name: str | int) -> None:
    folder = folder_with(tmp_path / "x", "model.npz")
    decoder_of(folder, models=["model.npz"], vocabs=[name, name])
    with pytest.raises(CheckpointError, match=r"decoder\.yml.*(names of files|is not beside)"):
        load(folder)


def test_which_vocabularies(tmp_path: Path) -> None:
    folder = folder_with(tmp_path / "x", "model.npz")
    (folder / "vocab.yml").rename(folder / "more.yml")
    with pytest.raises(
        CheckpointError, match=r"cannot tell .* from more\.yml; expected vocab\.spm"
    ):
        load(folder)
    decoder_of(folder, models=["model.npz"], vocabs=["more.yml"] * 3)
    with pytest.raises(UnsupportedModelError, match="3 vocabularies"):
        load(folder)
    (folder / "x.fsv").write_text("")
    decoder_of(folder, models=["model.npz"], vocabs=["x.fsv", "x.fsv"])
    with pytest.raises(UnsupportedModelError, match=r"x\.fsv: vocabularies with factors"):
        load(folder)
    (folder / "list.txt").write_text("".join(f"{c}\n" for c in ["</s>", "<unk>", *"abcdefgh"]))
    decoder_of(folder, models=["model.npz"], vocabs=["list.txt", "list.txt"])
    assert Translator(folder).tokenizer.encode_ids("a h x") == [2, 9, 1, 0]
    (folder / "list.txt").write_text("</s>\n<unk>\na\na\n")
    with pytest.raises(CheckpointError, match=r"list\.txt: an empty line, or a token twice"):
        load(folder)


def test_sides_by_name(tmp_path: Path) -> None:
    """As Firefox's models have them that need two vocabularies."""
    folder = folder_with(tmp_path / "x", "model.deen.intgemm.alphas.npz")
    (folder / "vocab.yml").unlink()
    for side in ("src", "trg"):
        (folder / f"{side}vocab.deen.spm").write_bytes(b"nonsense")
    with pytest.raises(CheckpointError, match=r"source\.spm is not a sentencepiece model"):
        load(folder)


# --- vocabularies ------------------------------------------------------------------------------


def with_vocabulary(folder: Path, lines: str) -> Path:
    path = write_variant(folder, "post-norm")
    (folder / "vocab.yml").write_text(lines, encoding="utf-8")
    return path


def test_tokens_between_blanks(tmp_path: Path) -> None:
    tokenizer = Translator(write_variant(tmp_path, "post-norm")).tokenizer
    assert tokenizer.encode("  a  ▁ö\tx a ") == ["a", "▁ö\tx", "a"]
    assert tokenizer.encode_ids("a zzz x#y") == [3, 1, 18, 0]
    assert tokenizer.source_ids(["a", "</s>"]) == [3, 0]
    assert tokenizer.decode([3, 8, 0]) == "a ▁ö"
    assert tokenizer.decode_tokens(["a", "q"]) == "a q"
    assert tokenizer.target_tokens([3, 14, 0]) == ["a", "\x85", "</s>"]
    for token_id in (-1, 20):
        with pytest.raises(OptionError, match=f"no token has the id {token_id}"):
            tokenizer.target_tokens([token_id])
    with pytest.raises(OptionError, match="lone surrogate"):
        tokenizer.encode("\ud800")
    with pytest.raises(TypeError, match="text must be str, not int"):
        tokenizer.encode_target(3)  # type: ignore[arg-type]


def test_ids_without_a_token(tmp_path: Path) -> None:
    """Marian drops tokens beyond the embeddings; rows without a token are never given."""
    path = with_vocabulary(tmp_path, "</s>: 0\n<unk>: 1\na: 2\nb: 5\nc: 20\nd: 99\n")
    checkpoint = load(path)
    assert checkpoint.generation.suppress_token_ids == (1, 3, 4, *range(6, 20))
    translator = Translator(path)
    assert translator.tokenizer.encode_ids("a b c d") == [2, 5, 1, 1, 0]
    with pytest.raises(OptionError, match="no token has the id 3"):
        translator.tokenizer.target_tokens([3])
    for line in ("a", "b a", "a b b"):
        assert set(translator.translate(line, beam_size=4).split()) <= {"a", "b"}


def test_nematus_names(tmp_path: Path) -> None:
    """Ids 0 and 1 are end and unknown token if they are free, or called as Nematus calls them."""
    for lines in ("a: 2\nb: 3\n", "eos: 0\nUNK: 1\na: 2\nb: 3\n"):
        tokenizer = Translator(with_vocabulary(tmp_path, lines)).tokenizer
        assert tokenizer.encode_ids("a b x") == [2, 3, 1, 0]
    tokenizer = Translator(with_vocabulary(tmp_path, "a: 0\nb: 1\n<unk>: 2\n</s>: 3\n")).tokenizer
    assert tokenizer.encode_ids("a b x") == [0, 1, 2, 3]


@pytest.mark.parametrize(
    ("lines", "fault"),
    [
        ("a: 0\nb: 1\n<unk>: 2\n", "lacks the token </s>"),
        ("</s>: 0\nb: 1\n", "lacks the token <unk>"),
        ("</s>: 0\n<unk>: 1\na: 2\nb: 2\n", "'a' and 'b' have the same id"),
        ("", "lacks the token <unk>"),
    ],
)
def test_broken_vocabulary(tmp_path: Path, lines: str, fault: str) -> None:
    with pytest.raises(CheckpointError, match=rf"vocab\.yml: {fault}"):
        load(with_vocabulary(tmp_path, lines))


# --- OPUS-MT -----------------------------------------------------------------------------------

TEXTS = ["Der Hund läuft.", "", " x  ▁ß 日本 ", ">>en<< ein Haus", ">>xx<< ein", "ein >>en<< Haus"]


def opus(folder: Path, languages: list[str]) -> tuple[Path, Any]:
    """The same vocabulary and pieces as OPUS-MT packs them and as Hugging Face does."""
    made = make_marian(folder / "theirs", languages=languages)
    ids = json.loads((made.path / "vocab.json").read_text(encoding="utf-8"))
    ids.pop("<pad>")
    ours = folder / "ours"
    ours.mkdir()
    for name in ("source.spm", "target.spm"):
        shutil.copy(made.path / name, ours / name)
    lines = "".join(f"{json.dumps(token, ensure_ascii=False)}: {i}\n" for token, i in ids.items())
    (ours / "opus.spm32k-spm32k.vocab.yml").write_text(lines, encoding="utf-8")
    values = {**options("post-norm"), "dim-vocabs": [len(ids), len(ids)]}
    weights = tensors("post-norm")
    rows = np.random.RandomState(0).normal(size=(len(ids), 16))
    weights["Wemb"] = rows.astype(np.float32)
    weights["decoder_ff_logit_out_b"] = np.zeros((1, len(ids)), np.float32)
    model = "opus.spm32k-spm32k.transformer-align.model1.npz.best-perplexity.npz"
    save(ours / model, weights, values)
    vocabularies = ["opus.spm32k-spm32k.vocab.yml"] * 2
    decoder_of(
        ours, relative_paths=True, models=[model], vocabs=vocabularies, beam_size=6, normalize=1
    )
    return ours, made.tokenizer


@pytest.mark.parametrize("with_decoder", [True, False])
@pytest.mark.parametrize("languages", [[], ["en", "fr"]])
def test_opus_mt(tmp_path: Path, languages: list[str], with_decoder: bool) -> None:
    folder, theirs = opus(tmp_path, languages)
    if not with_decoder:
        (folder / "decoder.yml").unlink()
    translator = Translator(folder)
    ours = translator.tokenizer
    assert translator.target_languages == tuple(languages)
    for line in TEXTS:
        assert ours.encode_ids(line) == theirs(line)["input_ids"]
        target = theirs(text_target=line)["input_ids"]
        assert ours.target_ids(ours.encode_target(line)) == target[:-1]
        known = [token_id for token_id in target if token_id != 1]
        # Hugging Face strips what it decodes.
        assert ours.decode(known).strip() == theirs.decode(known, skip_special_tokens=True)
    generation = load(folder).generation
    assert (generation.beam_size, generation.length_penalty) == ((6, 1) if with_decoder else (1, 0))
    if languages:
        assert ours.encode("ein Haus", tgt_lang="fr") == ours.encode(">>fr<< ein Haus")
        assert ours.encode(">>en<< ein", tgt_lang="fr") == ours.encode(">>en<< ein")
        with pytest.raises(OptionError, match=r"unknown target language 'de'.* en, fr"):
            ours.encode("ein", tgt_lang="de")


def test_bpe_of_opus_mt(tmp_path: Path) -> None:
    folder = folder_with(tmp_path / "x", "model.npz")
    (folder / "source.bpe").write_text("")
    with pytest.warns(UserWarning, match=r"source\.bpe and target\.bpe are not applied"):
        load(folder)


# --- defaults of decoding ----------------------------------------------------------------------


def test_decoding(tmp_path: Path) -> None:
    folder = decoder_of(
        folder_with(tmp_path / "x", "model.npz"),
        "config.intgemm8bitalpha.yml",
        models=["model.npz"],
        beam_size=5,
        normalize=0.6,
        max_length_factor=2,
        word_penalty=0,
        mini_batch_words=1024,
        gemm_precision="int8shiftAlphaAll",
    )
    found = load(folder).generation
    assert found.decoder_start_token_id == NO_TOKEN
    assert (found.end_token_id, found.forced_end_token_id) == (0, None)
    assert found.suppress_token_ids == (1,)
    assert (found.beam_size, found.length_penalty, found.max_length_factor) == (5, 0.6, 2)
    assert (found.beam_rule, found.max_decoding_length) == ("marian", 1023)
    decoder_of(folder, "config.intgemm8bitalpha.yml", models=["model.npz"], allow_unk=True)
    found = load(folder).generation
    assert found.suppress_token_ids == ()
    assert (found.beam_size, found.length_penalty, found.max_length_factor) == (12, 0, 3)


def test_bytes_of_control_characters(tmp_path: Path) -> None:
    lines = "</s>: 0\n<unk>: 1\n<0x00>: 2\n<0x0A>: 3\n<0x1F>: 4\n<0x20>: 5\n"
    path = with_vocabulary(tmp_path, lines)
    assert load(path).generation.suppress_token_ids[:5] == (1, 2, 3, 4, 6)
    decoder_of(tmp_path, models=["model.npz"], allow_special=True)
    assert load(path).generation.suppress_token_ids[:2] == (1, 6)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("word-penalty", 0.5),
        ("output-sampling", ["topk", 10]),
        ("output-sampling", True),
        ("output-approx-knn", [100, 1024]),
        ("force-decode", True),
        ("no-spm-decode", True),
        ("no-spm-encode", True),
    ],
)
def test_decoding_that_is_not_supported(tmp_path: Path, name: str, value: Any) -> None:
    folder = decoder_of(
        folder_with(tmp_path / "x", "model.npz"), **{"models": ["model.npz"], name: value}
    )
    with pytest.raises(UnsupportedModelError, match=rf"decoder\.yml: the option {name} = "):
        load(folder)


def test_shortlist_of_a_configuration(tmp_path: Path) -> None:
    folder = folder_with(tmp_path / "x", "model.npz")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        load(folder)
    decoder_of(folder, models=["model.npz"], shortlist=["lex.bin", False])
    with pytest.warns(UserWarning, match=r"decoder\.yml: its shortlist is not used unless"):
        load(folder)


# --- damage ------------------------------------------------------------------------------------


@pytest.mark.filterwarnings("ignore::UserWarning")
@pytest.mark.parametrize("name", ["model.npz", "vocab.yml", "decoder.yml"])
def test_damaged_file_of_a_folder(tmp_path: Path, name: str) -> None:
    """The loader as a whole: another error than its own would go through."""
    folder = folder_with(tmp_path / "x", "model.npz")
    decoder_of(folder, models=["model.npz"], vocabs=["vocab.yml"] * 2, beam_size=6, normalize=0.6)
    refusals = []
    for _ in rewritten(folder / name, damaged((folder / name).read_bytes(), 200)):
        try:
            weights = load(folder).tensors
        except CheckpointError as error:
            refusals.append(str(error))
        else:
            assert all(np.isfinite(weights[name]).all() for name in weights)
    assert 50 < len(refusals) < 200
    assert all(str(folder) in refusal for refusal in refusals)
