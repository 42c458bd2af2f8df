"""The model that the package carries: the same tokens as transformers, and translations of use."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import sacrebleu
import torch
from transformers import MarianMTModel, MarianTokenizer

import huggingface_peer as peer
import pytransformer
from bundled import ENGLISH, GERMAN, bundled_model, corpus
from checkpoints import make_marian
from huggingface_peer import Search
from pytransformer import _native, loaders, native
from pytransformer.benchmark.native_to_huggingface import write_directory
from pytransformer.model_files import open_model
from random_models import run_search

LOGITS_TOLERANCE = 1e-4  # of the root mean square of a row of logits
SCORE_TOLERANCE = 1e-4
SAMPLE = 100


@dataclass(frozen=True)
class Bundle:
    """The bundled model in both."""

    model: MarianMTModel
    judge: MarianMTModel
    tokenizer: MarianTokenizer
    engine: _native.Engine
    translator: pytransformer.Translator

    def sources(self, texts: list[str], target: str) -> list[list[int]]:
        return [self.tokenizer(f">>{target}<< {text}").input_ids for text in texts]

    def search(self, beam_size: int) -> Search:
        """The defaults of the model, but for the width of the beam."""
        config = self.model.generation_config
        return Search(
            beam_size=beam_size,
            num_hypotheses=beam_size,
            length_penalty=config.length_penalty,
            early_stopping=config.early_stopping,
            max_length=config.max_length - 2,
            suppressed=tuple(word[0] for word in config.bad_words_ids),
        )


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    torch.set_num_threads(1)
    path = bundled_model()
    directory = path
    if path.is_file():
        directory = tmp_path_factory.mktemp("bundled")
        write_directory(path, directory)
    model = MarianMTModel.from_pretrained(directory).eval()
    return Bundle(
        model,
        peer.in_double(model),
        MarianTokenizer.from_pretrained(directory),
        _native.Engine(open_model(path).native, 1, 1),
        pytransformer.Translator(path, intra_threads=1),
    )


@pytest.mark.parametrize("separate_vocabs", [False, True])
def test_native_files_turn_back(tmp_path: Path, separate_vocabs: bool) -> None:
    """The packing loses nothing: a native file holds the checkpoint that it was made from."""
    original = make_marian(
        tmp_path / "original", separate_vocabs=separate_vocabs, languages=["de", "en"]
    )
    before = loaders.load(original.path)
    native.write(before, tmp_path / "model.safetensors")
    write_directory(tmp_path / "model.safetensors", tmp_path / "rebuilt")
    after = loaders.load(tmp_path / "rebuilt")
    assert after.model == before.model
    assert after.generation == before.generation
    assert after.files == before.files
    assert set(after.tensors) == set(before.tensors)
    for name, values in before.tensors.items():
        np.testing.assert_array_equal(after.tensors[name], values, err_msg=name)


@pytest.mark.parametrize("target", ["en", "de"])
@pytest.mark.parametrize(
    "name", ["multi30k/train", "multi30k/val", "multi30k/test_2016_flickr", "newstest/newstest2014"]
)
def test_same_ids(bundle: Bundle, shared_data: Path, name: str, target: str) -> None:
    """Every line of real text, most of it unlike what the vocabulary was made for."""
    german, english = corpus(shared_data, name)
    ours = open_model(bundle.translator.model_path).tokenizer
    for line in german if target == "en" else english:
        expected = bundle.tokenizer(f">>{target}<< {line}").input_ids
        assert ours.encode_ids(line, tgt_lang=target) == expected


@pytest.mark.parametrize(("texts", "target"), [(GERMAN, "en"), (ENGLISH, "de")])
def test_logits(bundle: Bundle, texts: tuple[str, ...], target: str) -> None:
    """Under the model's own translations."""
    sources = bundle.sources(list(texts), target)
    start = bundle.model.generation_config.decoder_start_token_id
    for source, hypotheses in zip(
        sources, peer.generate(bundle.model, sources, bundle.search(1)), strict=True
    ):
        prefix = [start, *hypotheses[0][0]]
        with torch.inference_mode():
            expected = bundle.model(
                input_ids=torch.tensor([source]), decoder_input_ids=torch.tensor([prefix])
            ).logits[0]
        size = expected.square().mean(dim=1, keepdim=True).sqrt()
        ours = torch.from_numpy(bundle.engine.logits(source, prefix))
        assert bool(((ours - expected).abs() <= LOGITS_TOLERANCE * size).all())


def assert_same_translations(bundle: Bundle, texts: list[str], target: str, beam_size: int) -> None:
    """All hypotheses of all sentences; at most one in a hundred may differ, by a near tie."""
    search = bundle.search(beam_size)
    sources = bundle.sources(texts, target)
    ours = run_search(bundle.engine, sources, peer.engine_options(bundle.model, search))
    theirs = peer.generate(bundle.model, sources, search)
    found = peer.differences(bundle.judge, sources, ours, theirs, search)
    assert all(difference.gap <= SCORE_TOLERANCE for difference in found), found
    assert len(found) <= max(1, 0.01 * sum(map(len, ours))), found
    # The same through the tokenizer: text in, text out.
    expected = bundle.tokenizer.batch_decode([h[0][0] for h in ours], skip_special_tokens=True)
    assert bundle.translator.translate(texts, tgt_lang=target, beam_size=beam_size) == expected


@pytest.mark.parametrize("beam_size", [1, 4])
@pytest.mark.parametrize(("texts", "target"), [(GERMAN, "en"), (ENGLISH, "de")])
def test_same_translations(
    bundle: Bundle, texts: tuple[str, ...], target: str, beam_size: int
) -> None:
    assert_same_translations(bundle, list(texts), target, beam_size)


@pytest.mark.parametrize("beam_size", [1, 4])
@pytest.mark.parametrize("target", ["en", "de"])
def test_same_translations_of_a_corpus(
    bundle: Bundle, shared_data: Path, target: str, beam_size: int
) -> None:
    german, english = corpus(shared_data, "multi30k/test_2016_flickr", SAMPLE)
    assert_same_translations(bundle, german if target == "en" else english, target, beam_size)


@pytest.mark.parametrize(("target", "least"), [("en", 33.0), ("de", 30.0)])
def test_quality_of_a_sample(bundle: Bundle, shared_data: Path, target: str, least: float) -> None:
    """Far below what bench/quality.py measures on whole sets: it only catches what is broken."""
    german, english = corpus(shared_data, "multi30k/test_2016_flickr", 200)
    source, reference = (german, english) if target == "en" else (english, german)
    found = bundle.translator.translate(source, tgt_lang=target, beam_size=4)
    assert sacrebleu.corpus_bleu(found, [reference]).score >= least
