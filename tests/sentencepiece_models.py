"""Models of sentencepiece that tests train, and edit in their files."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import sentencepiece

from pytransformer.model_files import BUNDLED_MODEL, open_model
from pytransformer.model_spec import TokenizerSpec


def train(lines: Sequence[str], **options: Any) -> bytes:
    model = io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(lines),
        model_writer=model,
        minloglevel=2,
        **{
            "vocab_size": 1000,
            "hard_vocab_limit": options.get("model_type") == "bpe",
            "character_coverage": 0.999,
            **options,
        },
    )
    return model.getvalue()


def of_pieces(model: bytes) -> tuple[TokenizerSpec, dict[str, bytes], int]:
    """The tokenizer that is a sentencepiece model and nothing else."""
    side = {"pieces": "x.spm", "tokens": None}
    size = sentencepiece.SentencePieceProcessor(model_proto=model).get_piece_size()
    spec = TokenizerSpec("marian_vocabulary", {"source": side, "target": side})
    return spec, {"x.spm": model}, size


def bundled_pieces(side: str) -> bytes:
    """The sentencepiece model of the bundled model's source or target."""
    model = open_model(BUNDLED_MODEL)
    place = model.tokenizer_spec.settings["files"][f"{side}.spm"]
    return bytes(model.native.file(place["tensor"], place["length"]))


# What Protocol Buffers write: a field's number and form, then its length, then its content.
def varint(number: int) -> bytes:
    head, number = number & 0x7F, number >> 7
    return bytes([head | 0x80]) + varint(number) if number else bytes([head])


def fields(message: bytes) -> Iterator[tuple[int, bytes]]:
    """The numbers and contents of fields, all of which have a length."""
    while message:
        assert message[0] & 7 == 2
        size, shift, place = 0, 0, 1
        while True:
            size |= (message[place] & 0x7F) << shift
            place, shift = place + 1, shift + 7
            if message[place - 1] < 0x80:
                break
        yield message[0] >> 3, message[place : place + size]
        message = message[place + size :]


def edited(model: bytes, edit: Callable[[int, int, bytes], bytes]) -> bytes:
    """A model whose fields are edited by number of the field, place and content."""
    result = b""
    for place, (number, content) in enumerate(fields(model)):
        content = edit(number, place, content)
        result += bytes([number << 3 | 2]) + varint(len(content)) + content
    return result


def equal_scores(number: int, place: int, content: bytes) -> bytes:
    """All pieces are equally good, so that only the order of the search decides."""
    if number != 1 or place < 4:
        return content
    end = 2 + content[1]
    return content[:end] + b"\x15\x00\x00\x80\xc0" + content[end + 5 :]
