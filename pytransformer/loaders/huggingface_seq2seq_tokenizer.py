"""The tokenizers of most models, by the class that a Hugging Face directory names."""

from __future__ import annotations

from pathlib import Path

from pytransformer.errors import UnsupportedModelError
from pytransformer.loaders.huggingface import Settings
from pytransformer.loaders.huggingface_bart_tokenizer import read_bart, read_gpt2, read_library
from pytransformer.loaders.huggingface_bert_tokenizer import read_bert
from pytransformer.loaders.huggingface_fast_families import (
    MBART,
    MBART_50,
    NLLB,
    NLLB_LEGACY,
    PEGASUS,
    Family,
)
from pytransformer.loaders.huggingface_fast_tokenizer import read_fast
from pytransformer.loaders.huggingface_frame import Directory
from pytransformer.loaders.huggingface_fsmt_tokenizer import read_fsmt
from pytransformer.loaders.huggingface_m2m100_tokenizer import read_m2m100, read_small100
from pytransformer.model_spec import TokenizerSpec

_READERS = {
    "BartTokenizer": read_bart,
    "BertTokenizer": read_bert,
    "FSMTTokenizer": read_fsmt,
    "GPT2Tokenizer": read_gpt2,
    "M2M100Tokenizer": read_m2m100,
    "MBart50Tokenizer": lambda directory: read_fast(directory, MBART_50),
    "MBartTokenizer": lambda directory: read_fast(directory, MBART),
    "NllbTokenizer": lambda directory: read_fast(directory, _nllb(directory)),
    "PegasusTokenizer": lambda directory: read_fast(directory, PEGASUS),
    "PreTrainedTokenizer": read_library,
    "RobertaTokenizer": read_bart,
    "SMALL100Tokenizer": read_small100,
    "TokenizersBackend": read_library,
}
# Where a directory names no class.
_USUAL = {
    "bart": "BartTokenizer",
    "bert": "BertTokenizer",
    "fsmt": "FSMTTokenizer",
    "gpt2": "GPT2Tokenizer",
    "m2m_100": "M2M100Tokenizer",
    "mbart": "MBartTokenizer",
    "pegasus": "PegasusTokenizer",
}


def read_tokenizer(
    directory: Path, config: Settings, source_size: int, target_size: int
) -> tuple[TokenizerSpec, dict[str, bytes]]:
    """The tokenizer and its files, for a model with so many embeddings on each side.

    Raises CheckpointError if a file is missing or broken or does not fit the embeddings,
    UnsupportedModelError for a tokenizer that is not known.
    """
    path = directory / "tokenizer_config.json"
    options = Settings.read(path) if path.is_file() else Settings({}, path)
    if options.get("split_special_tokens"):
        raise UnsupportedModelError(f"{path}: split_special_tokens is not supported")
    if options.get("sp_model_kwargs"):
        raise UnsupportedModelError(f"{path}: sp_model_kwargs (sampling) is not supported")
    name = _class(directory, config, options)
    if name not in _READERS:
        raise UnsupportedModelError(
            f"{path}: a tokenizer of the class {name!r} is not supported; known are "
            f"{', '.join(_READERS)}"
        )
    return _READERS[name](Directory(directory, config, options, source_size, target_size))


def _class(directory: Path, config: Settings, options: Settings) -> str:
    if (directory / "tokenization_small100.py").is_file():
        return "SMALL100Tokenizer"
    usual = _USUAL.get(config.text("model_type", ""), "")
    if usual == "M2M100Tokenizer" and not (directory / "vocab.json").is_file():
        usual = "NllbTokenizer"
    name = options.text("tokenizer_class", config.text("tokenizer_class", usual))
    return name.removesuffix("Fast")


def _nllb(directory: Directory) -> Family:
    return NLLB_LEGACY if directory.options.flag("legacy_behaviour", False) else NLLB
