"""The tokenizers of M2M100 and SMaLL-100: sentencepiece's pieces, numbered by vocab.json.

The languages' tokens have the ids behind those of vocab.json, in a fixed order.
"""

from __future__ import annotations

from pytransformer.errors import CheckpointError
from pytransformer.loaders import huggingface_languages as languages
from pytransformer.loaders.huggingface import read_json_object
from pytransformer.loaders.huggingface_frame import END, Directory, Frame
from pytransformer.loaders.huggingface_tokenizer import (
    AddedTokens,
    check_named,
    check_vocabulary,
    token_list,
)
from pytransformer.loaders.sentencepiece_file import read_sentencepiece
from pytransformer.model_spec import TokenizerSpec
from pytransformer.tokenizers.framed import SOURCE, TARGET

_FILES = ("sentencepiece.bpe.model", "vocab.json")
_DEFAULTS = {
    "bos_token": "<s>",
    "eos_token": "</s>",
    "sep_token": "</s>",
    "pad_token": "<pad>",
    "unk_token": "<unk>",
}
_TOKEN = "__(.+)__"
_M2M100 = Frame((SOURCE,), (END,), _TOKEN, "en", "first_token")
# The decoder is not told the language: the source is.
_SMALL100 = Frame((TARGET,), (END,), _TOKEN, None, "source")


def read_m2m100(directory: Directory) -> tuple[TokenizerSpec, dict[str, bytes]]:
    """The tokenizer of M2M100; raises CheckpointError if files are missing or broken."""
    return _read(directory, _M2M100)


def read_small100(directory: Directory) -> tuple[TokenizerSpec, dict[str, bytes]]:
    """As above, with the target's language in front of the source."""
    return _read(directory, _SMALL100)


def _read(directory: Directory, frame: Frame) -> tuple[TokenizerSpec, dict[str, bytes]]:
    paths = [directory.path / name for name in _FILES]
    if missing := [path.name for path in paths if not path.is_file()]:
        raise CheckpointError(
            f"{directory.path}: the tokenizer's files are missing: {', '.join(missing)}"
        )
    model_path, vocab_path = paths
    vocab = read_json_object(vocab_path)
    names = _language_tokens(directory)
    ids = {**{token: len(vocab) + place for place, token in enumerate(names)}, **vocab}
    added = AddedTokens(directory.path, directory.options, _DEFAULTS, ids)
    check_named(directory.options, added.named, ("eos_token", "unk_token"))
    end, unknown = added.named["eos_token"], added.named["unk_token"]
    check_vocabulary(vocab_path, vocab, directory.size, (unknown, end))
    tokens = {
        content: {**token, "id": ids.get(content, token["id"])}
        for content, token in added.tokens.items()
    }
    ids.update((content, token["id"]) for content, token in tokens.items())
    ids = {token: token_id for token, token_id in ids.items() if token_id < directory.size}
    check_vocabulary(vocab_path, ids, directory.size, ())
    special = {*names, *(content for content, token in tokens.items() if token["special"])}
    found = sorted(special & ids.keys(), key=ids.__getitem__)
    read_sentencepiece(model_path)
    settings = {
        **frame.settings(directory, end, frame.languages(found)),
        "unk_token": unknown,
        "added_tokens": [
            {"content": content, **token} for content, token in tokens.items() if content in ids
        ],
        "special_tokens": found,
        "clean_up_tokenization_spaces": directory.options.flag(
            "clean_up_tokenization_spaces", False
        ),
    }
    files = {"sentencepiece.model": model_path.read_bytes(), "vocabulary.json": token_list(ids)}
    return TokenizerSpec("m2m100", settings), files


def _language_tokens(directory: Directory) -> list[str]:
    name = directory.options.text("language_codes", "m2m100")
    if name not in languages.M2M100:
        raise directory.options.error("language_codes", " or ".join(languages.M2M100))
    return [f"__{code}__" for code in languages.M2M100[name]]
