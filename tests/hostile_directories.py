"""Tiny Hugging Face directories of every family, for tests that damage them."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import safetensors.torch
import sentencepiece
import tokenizers
import torch
from transformers import (
    AutoTokenizer,
    BartConfig,
    BartForConditionalGeneration,
    BertConfig,
    BertForSequenceClassification,
    FSMTConfig,
    FSMTForConditionalGeneration,
    GPT2Config,
    GPT2LMHeadModel,
    M2M100Config,
    M2M100ForConditionalGeneration,
    MarianConfig,
    MarianMTModel,
    MBartConfig,
    MBartForConditionalGeneration,
    MT5Config,
    MT5ForConditionalGeneration,
    PegasusConfig,
    PegasusForConditionalGeneration,
    T5Config,
    T5ForConditionalGeneration,
    UMT5Config,
    UMT5ForConditionalGeneration,
    ViTConfig,
    ViTForImageClassification,
)
from transformers.utils import logging

from checkpoints import write_bin, write_tokenizer
from fast_tokenizers import list_nllb
from pytransformer import Encoder, Generator, Translator
from pytransformer.errors import PytransformerError
from pytransformer.model_spec import Checkpoint
from tokenizer_pairs import train, write_json

logging.disable_progress_bar()
# For models as small as these, the threads' meetings cost more than their work saves.
torch.set_num_threads(1)

TEXT = "a dog </s> ▁x ä"

MODELS = {
    "marian": (MarianConfig, MarianMTModel),
    "m2m_100": (M2M100Config, M2M100ForConditionalGeneration),
    "mbart": (MBartConfig, MBartForConditionalGeneration),
    "bart": (BartConfig, BartForConditionalGeneration),
    "pegasus": (PegasusConfig, PegasusForConditionalGeneration),
    "fsmt": (FSMTConfig, FSMTForConditionalGeneration),
    "t5": (T5Config, T5ForConditionalGeneration),
    "mt5": (MT5Config, MT5ForConditionalGeneration),
    "umt5": (UMT5Config, UMT5ForConditionalGeneration),
    "bert": (BertConfig, BertForSequenceClassification),
    "vit": (ViTConfig, ViTForImageClassification),
    "gpt2": (GPT2Config, GPT2LMHeadModel),
}
_BART: dict[str, Any] = {
    "d_model": 4,
    "encoder_layers": 1,
    "decoder_layers": 1,
    "encoder_attention_heads": 2,
    "decoder_attention_heads": 1,
    "encoder_ffn_dim": 3,
    "decoder_ffn_dim": 5,
    "max_position_embeddings": 12,
}
_T5: dict[str, Any] = {"d_model": 4, "d_kv": 3, "num_heads": 2, "d_ff": 5, "num_layers": 1}
_BERT: dict[str, Any] = {
    "hidden_size": 4,
    "num_hidden_layers": 1,
    "num_attention_heads": 2,
    "intermediate_size": 5,
}
_GPT2: dict[str, Any] = {"n_embd": 4, "n_layer": 1, "n_head": 2, "n_positions": 12}
_VIT: dict[str, Any] = {**_BERT, "image_size": 6, "patch_size": 3, "num_channels": 1}
_VALUES = {"t5": _T5, "mt5": _T5, "umt5": _T5, "bert": _BERT, "vit": _VIT, "gpt2": _GPT2}


def write_directory(path: Path, name: str) -> Path:
    """Writes the directory `name` of DIRECTORIES into the folder `path`, which may exist."""
    path.mkdir(parents=True, exist_ok=True)
    model_type, write, config = DIRECTORIES[name]
    sizes = write(path)
    kind, model_class = MODELS[model_type]
    model = model_class(kind(**{**_VALUES.get(model_type, _BART), **sizes, **config}))
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.normal_(0.0, 0.5)
    model.save_pretrained(path)
    return path


def use(model: Path | Checkpoint, sound: Checkpoint) -> None:
    """Opens a model that is like a sound one, and has it do a little of what it is for.

    What it cannot do, it may say by any error of the package.
    """
    if sound.model.architecture == "encoder":
        encoder = Encoder(model, intra_threads=1)
        assert encoder.tokenizer if sound.files else encoder.pictures
        with contextlib.suppress(PytransformerError):
            encoder.encode(TEXT if sound.files else np.zeros((1, 6, 6), np.float32))
    elif sound.model.architecture == "decoder":
        generator = Generator(model, intra_threads=1)
        assert generator.tokenizer
        with contextlib.suppress(PytransformerError):
            generator.generate(TEXT, max_decoding_length=3)
    else:
        _translate(Translator(model, intra_threads=1))


def _translate(translator: Translator) -> None:
    languages = {"src_lang": translator.source_languages, "tgt_lang": translator.target_languages}
    named: dict[str, Any] = {option: codes[-1] for option, codes in languages.items() if codes}
    with contextlib.suppress(PytransformerError):
        translator.translate(TEXT, max_decoding_length=3, **named)


def store_as_bin(path: Path, shards: int) -> None:
    """Replaces a directory's weights by those of PyTorch's own format."""
    file = path / "model.safetensors"
    write_bin(path, safetensors.torch.load_file(file), shards)
    file.unlink()


def store_as_shards(path: Path) -> None:
    """Replaces a directory's weights by two files and an index."""
    file = path / "model.safetensors"
    state = safetensors.torch.load_file(file)
    file.unlink()
    weight_map = {}
    for shard in range(2):
        part = {key: state[key] for key in sorted(state)[shard::2]}
        safetensors.torch.save_file(part, path / f"model-{shard}.safetensors")
        weight_map.update(dict.fromkeys(part, f"model-{shard}.safetensors"))
    write_json(path / "model.safetensors.index.json", {"metadata": {}, "weight_map": weight_map})


def _options(path: Path, **options: Any) -> None:
    write_json(path / "tokenizer_config.json", options)


def _pieces(kind: str, **ids: int) -> bytes:
    return train(kind, size=90, **ids)


def _marian(path: Path) -> dict[str, Any]:
    size, _ = write_tokenizer(path, False, ["de", "fr"], {"source_lang": "en"})
    return _marians(size, size)


def _marian_separate(path: Path) -> dict[str, Any]:
    return _marians(*write_tokenizer(path, True, [], {}))


def _marians(source: int, target: int) -> dict[str, Any]:
    tokens = {"eos_token_id": 0, "forced_eos_token_id": 0, "pad_token_id": target - 1}
    return {
        **tokens,
        "vocab_size": source,
        "decoder_vocab_size": target,
        "decoder_start_token_id": target - 1,
        "share_encoder_decoder_embeddings": source == target,
    }


def _m2m_100(path: Path) -> dict[str, Any]:
    model = _pieces("bpe")
    processor = sentencepiece.SentencePieceProcessor(model_proto=model)
    pieces = [processor.id_to_piece(i) for i in range(3, processor.get_piece_size())]
    vocab = {token: i for i, token in enumerate(["<s>", "<pad>", "</s>", "<unk>", *pieces])}
    (path / "sentencepiece.bpe.model").write_bytes(model)
    write_json(path / "vocab.json", vocab)
    _options(path, tokenizer_class="M2M100Tokenizer", src_lang="en", tgt_lang="de")
    return {"vocab_size": len(vocab) + 101}


def _small_100(path: Path) -> dict[str, Any]:
    values = _m2m_100(path)
    (path / "tokenization_small100.py").touch()
    return values


def _nllb(path: Path) -> dict[str, Any]:
    (path / "sentencepiece.bpe.model").write_bytes(_pieces("bpe"))
    _options(path, tokenizer_class="NllbTokenizer", src_lang="ace_Latn")
    list_nllb(path, 4)
    return {"vocab_size": 110}


def _mbart(path: Path) -> dict[str, Any]:
    (path / "sentencepiece.bpe.model").write_bytes(_pieces("unigram"))
    _options(path, tokenizer_class="MBartTokenizer", src_lang="en_XX")
    return {"vocab_size": 130}


def _mbart_50(path: Path) -> dict[str, Any]:
    (path / "sentencepiece.bpe.model").write_bytes(_pieces("unigram"))
    _options(path, tokenizer_class="MBart50Tokenizer", src_lang="en_XX", tgt_lang="de_DE")
    return {"vocab_size": 160}


def _pegasus(path: Path) -> dict[str, Any]:
    pieces = _pieces("unigram", pad_id=0, eos_id=1, unk_id=2, bos_id=-1)
    (path / "spiece.model").write_bytes(pieces)
    _options(path, tokenizer_class="PegasusTokenizer", offset=5)
    return {"vocab_size": 110}


def _with_json(
    write: Callable[[Path], dict[str, Any]], model_type: str
) -> Callable[[Path], dict[str, Any]]:
    """The same with what transformers makes of the tokenizer's files: a tokenizer.json."""

    def write_both(path: Path) -> dict[str, Any]:
        values = write(path)
        write_json(path / "config.json", {"model_type": model_type})
        tokenizer = AutoTokenizer.from_pretrained(path)
        for file in path.iterdir():
            file.unlink()
        tokenizer.save_pretrained(path)
        return values

    return write_both


def _byte_pairs(path: Path, special: list[str]) -> int:
    letters = sorted(tokenizers.pre_tokenizers.ByteLevel.alphabet())
    merges = [("Ġ", "a"), ("d", "o"), ("do", "g")]
    pieces = [*special, *letters, *("".join(pair) for pair in merges)]
    write_json(path / "vocab.json", {piece: i for i, piece in enumerate(pieces)})
    lines = ["#version: 0.2", *(" ".join(pair) for pair in merges)]
    (path / "merges.txt").write_text("\n".join(lines) + "\n", encoding="utf-8")
    return len(pieces)


def _bart(path: Path) -> dict[str, Any]:
    size = _byte_pairs(path, ["<s>", "<pad>", "</s>", "<unk>"])
    _options(path, tokenizer_class="BartTokenizer", mask_token="<mask>")
    write_json(path / "special_tokens_map.json", {"mask_token": {"content": "<mask>"}})
    write_json(path / "added_tokens.json", {"<mask>": size})
    return {"vocab_size": size + 1}


def _library(path: Path) -> dict[str, Any]:
    values = _with_json(_bart, "bart")(path)
    _options(path, tokenizer_class="PreTrainedTokenizerFast", eos_token="</s>", unk_token="<unk>")
    return values


def _gpt2(path: Path) -> dict[str, Any]:
    size = _byte_pairs(path, ["<|endoftext|>"])
    _options(path, tokenizer_class="GPT2Tokenizer")
    return {"vocab_size": size, "bos_token_id": 0, "eos_token_id": 0}


def _fsmt(path: Path) -> dict[str, Any]:
    letters = sorted(set("adeghnou."))
    pieces = [*letters, *(letter + "</w>" for letter in letters), "do", "dog</w>"]
    tokens = {token: i for i, token in enumerate(["<s>", "<pad>", "</s>", "<unk>", *pieces])}
    for side in ("src", "tgt"):
        write_json(path / f"vocab-{side}.json", tokens)
    (path / "merges.txt").write_text("#version: 0.2\nd o 5\ndo g</w> 4\n")
    _options(path, tokenizer_class="FSMTTokenizer", langs=["en", "de"], do_lower_case=False)
    size = len(tokens)
    return {"src_vocab_size": size, "tgt_vocab_size": size, "langs": ["en", "de"]}


def _t5(path: Path) -> dict[str, Any]:
    pieces = _pieces("unigram", pad_id=0, eos_id=1, unk_id=2, bos_id=-1)
    (path / "spiece.model").write_bytes(pieces)
    _options(path, tokenizer_class="T5Tokenizer", extra_ids=3)
    task = {"prefix": "translate English to German: ", "max_length": 9}
    return {"vocab_size": 100, "task_specific_params": {"translation_en_to_de": task}}


def _byt5(path: Path) -> dict[str, Any]:
    _options(path, tokenizer_class="ByT5Tokenizer", extra_ids=3)
    return {"vocab_size": 262, "tokenizer_class": "ByT5Tokenizer"}


def _bert(path: Path) -> dict[str, Any]:
    words = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "a", "dog", "##s", "."]
    (path / "vocab.txt").write_text("\n".join(words) + "\n")
    _options(path, tokenizer_class="BertTokenizer", do_lower_case=True)
    labels = {0: "one", 1: "two", 2: "three"}
    return {"vocab_size": len(words), "id2label": labels, "max_position_embeddings": 12}


def _vit(path: Path) -> dict[str, Any]:
    size = {"height": 6, "width": 6}
    values = {"do_resize": True, "size": size, "resample": 2, "rescale_factor": 1 / 255}
    numbers = {"image_mean": [0.5], "image_std": [0.5], "do_rescale": True, "do_normalize": True}
    write_json(path / "preprocessor_config.json", {**values, **numbers})
    return {"id2label": {0: "one", 1: "two"}}


_T5_START = {"decoder_start_token_id": 0}
_Directory = tuple[str, Callable[[Path], dict[str, Any]], dict[str, Any]]

# By name: the type of the model, what writes the tokenizer and gives settings, more settings.
DIRECTORIES: dict[str, _Directory] = {
    "marian": ("marian", _marian, {}),
    "marian-separate": ("marian", _marian_separate, {}),
    "m2m100": ("m2m_100", _m2m_100, {}),
    "small100": ("m2m_100", _small_100, {}),
    "nllb": ("m2m_100", _nllb, {}),
    "nllb-json": ("m2m_100", _with_json(_nllb, "m2m_100"), {}),
    "mbart": ("mbart", _mbart, {}),
    "mbart50-json": ("mbart", _with_json(_mbart_50, "mbart"), {}),
    "pegasus": ("pegasus", _pegasus, {}),
    "bart": ("bart", _bart, {}),
    "bart-library": ("bart", _library, {}),
    "fsmt": ("fsmt", _fsmt, {}),
    "t5": ("t5", _t5, _T5_START),
    "mt5-json": ("mt5", _with_json(_t5, "t5"), _T5_START),
    "umt5-json": ("umt5", _with_json(_t5, "t5"), _T5_START),
    "byt5": ("t5", _byt5, _T5_START),
    "bert": ("bert", _bert, {}),
    "vit": ("vit", _vit, {}),
    "gpt2": ("gpt2", _gpt2, {}),
}
