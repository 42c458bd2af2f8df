"""What the C interface opens may be no model, or a damaged one: an error, never a crash."""

from __future__ import annotations

import json
import random
from ctypes import byref, c_void_p, sizeof
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from bundled import bundled_model
from c_header import Error, Status
from c_interface import CError, CLibrary, CTranslator
from memory_bounds import memory_within
from mutations import damaged, json_mutants
from native_images import aligned, config_of, config_text, image_of, stored_tensors
from pytransformer import native
from random_models import END, encoder_spec, lively_checkpoint, random_checkpoint, stack

Values = dict[str, Any]
Image = np.ndarray[Any, np.dtype[np.uint8]]

VOCABULARY = 23
SOURCE = [5, 6, END]
MUTANTS = 300
MEGABYTES = 80


# -- What is opened --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"inter_threads": -1}, "inter_threads is -1, expected 0 to 1024"),
        ({"intra_threads": 2**31 - 1}, "intra_threads is 2147483647, expected 0 to 1024"),
        ({"isa": b"quantum"}, "'quantum'"),
        ({"isa": b""}, "''"),
    ],
    ids=str,
)
def test_wrong_settings(settings: Values, words: str, c_library: CLibrary, c_image: Image) -> None:
    with pytest.raises(CError, match=words) as caught:
        CTranslator(c_library, c_image, **settings)
    assert caught.value.status == Status.OPTION


def test_files_that_are_none(c_library: CLibrary, tmp_path: Path) -> None:
    (tmp_path / "empty").touch()
    (tmp_path / "text").write_text("Ein Hund läuft durch den Schnee.\n" * 100)
    # A safetensors file of somebody else's.
    (tmp_path / "foreign").write_bytes((2).to_bytes(8, "little") + b"{}")
    for name, status in (
        ("missing", Status.FILE),
        ("a\udcff", Status.FILE),
        (".", Status.CHECKPOINT),
        ("empty", Status.CHECKPOINT),
        ("text", Status.CHECKPOINT),
        ("foreign", Status.CHECKPOINT),
    ):
        path = str(tmp_path / name).encode("utf-8", "surrogateescape")
        handle = c_void_p(1)
        error = Error(sizeof(Error))
        assert c_library.open(path, None, byref(handle), byref(error)) == status, name
        assert not handle
        assert error.message.startswith(path + b": ")
    for path in ("/dev/zero", "/proc/self/mem"):
        with pytest.raises(CError) as caught:
            CTranslator(c_library, Path(path))
        assert caught.value.status == Status.CHECKPOINT


def test_encoder_alone(c_library: CLibrary) -> None:
    image = native.build_image(random_checkpoint(encoder_spec(stack())))
    with pytest.raises(CError, match="an encoder alone") as caught:
        CTranslator(c_library, image)
    assert caught.value.status == Status.UNSUPPORTED


def test_image_anywhere_in_memory(
    c_library: CLibrary, c_image: Image, c_small: CTranslator
) -> None:
    """One that lies aligned is used there; of any other there is a copy, and it may go."""
    expected = c_small.translate_ids([SOURCE], beam_size=3)
    for offset in (0, 1, 8, 63):
        memory = np.zeros(c_image.size + 128, np.uint8)
        start = -memory.ctypes.data % 64 + offset
        image = memory[start : start + c_image.size]
        image[:] = c_image
        with CTranslator(c_library, image) as opened:
            if offset:
                memory[:] = 0xFF
            assert opened.translate_ids([SOURCE], beam_size=3) == expected
    for size in (0, 7, 8, 100, c_image.size // 2, c_image.size - 1, 2**63):
        handle, error = c_void_p(1), Error(sizeof(Error))
        given = (c_image.ctypes.data, size, None, byref(handle), byref(error))
        wrong = Status.ARGUMENT if size == 2**63 else Status.CHECKPOINT
        assert c_library.open_memory(*given) == wrong
        assert not handle


def test_weights_that_are_not_finite(c_library: CLibrary) -> None:
    checkpoint = lively_checkpoint(2, VOCABULARY)
    name = next(name for name in checkpoint.tensors if name.startswith("decoder."))
    checkpoint.tensors[name] = np.full_like(checkpoint.tensors[name], np.nan)
    with CTranslator(c_library, native.build_image(checkpoint)) as opened:
        for options in ({}, {"beam_size": 4}, {"sampling_topk": 0}):
            with pytest.raises(CError, match="not finite") as caught:
                opened.translate_ids([SOURCE] * 3, **options)
            assert caught.value.status == Status.DECODING


# -- Damage ----------------------------------------------------------------------------------------


def use(library: CLibrary, image: Image) -> Status:
    """Opens an image and, if that goes well, translates; what became of it."""
    try:
        with CTranslator(library, image, intra_threads=1) as opened:
            limits: Values = {"beam_size": 2, "max_decoding_length": 2}
            if opened.info().translates_text:
                opened.translate("Ein Hund.", **limits)
            opened.translate_ids([[5, END]], **limits)
    except CError as error:
        return error.status
    return Status.OK


# What damage may come to: it is found when the model is opened, or shows in its numbers, in a
# vocabulary that is too small, or in a tokenizer's file that is looked at late.
OUTCOMES = {
    Status.OK, Status.CHECKPOINT, Status.UNSUPPORTED, Status.OPTION, Status.INPUT_LENGTH,
    Status.DECODING,
}  # fmt: skip


def test_damaged_bytes(c_library: CLibrary, c_image: Image) -> None:
    """Anywhere in the image, and most of it in its header."""
    content = c_image.tobytes()
    header = 8 + int.from_bytes(content[:8], "little")
    with memory_within(MEGABYTES):
        found = [
            use(c_library, aligned(np.frombuffer(mutant, np.uint8)))
            for count, reach in ((MUTANTS // 2, None), (MUTANTS, header))
            for mutant in damaged(content, count, reach=reach)
        ]
    assert set(found) <= OUTCOMES
    assert {Status.OK, Status.CHECKPOINT} <= set(found)


def test_damaged_configuration(c_library: CLibrary, c_image: Image) -> None:
    config, tensors = config_text(c_image), stored_tensors(c_image)
    with memory_within(MEGABYTES):
        found = [
            use(c_library, image_of(mutant.decode("utf-8", "surrogatepass"), tensors))
            for mutant in json_mutants(config.encode(), MUTANTS)
        ]
    assert set(found) <= OUTCOMES
    assert {Status.OK, Status.CHECKPOINT} <= set(found)


@pytest.fixture(scope="module")
def with_tokenizer() -> tuple[Values, dict[str, Any]]:
    """A small model's weights with the bundled model's tokenizer: its configuration and tensors."""
    model = np.fromfile(bundled_model(), np.uint8)
    theirs, tensors = config_of(model), stored_tensors(model)
    size = theirs["model"]["decoder"]["vocab_size"]
    small = native.build_image(lively_checkpoint(1, size))
    files = {name: tensor for name, tensor in tensors.items() if name.startswith("file.")}
    config = {**config_of(small), "tokenizer": theirs["tokenizer"]}
    return config, {**stored_tensors(small), **files}


def test_damaged_tokenizer(
    c_library: CLibrary, with_tokenizer: tuple[Values, dict[str, Any]]
) -> None:
    """Its settings, and its files."""
    config, tensors = with_tokenizer
    assert use(c_library, image_of(json.dumps(config), tensors)) == Status.OK
    settings = json.dumps(config["tokenizer"]).encode()
    found = []
    with memory_within(MEGABYTES):
        whole = json.dumps({**config, "tokenizer": "a hole"})
        for mutant in json_mutants(settings, MUTANTS // 3):
            text = whole.replace('"a hole"', mutant.decode("utf-8", "surrogatepass"))
            found.append(use(c_library, image_of(text, tensors)))
        generator = random.Random(0)
        names = [name for name in tensors if name.startswith("file.")]
        for _ in range(MUTANTS // 3):
            name = generator.choice(names)
            kind, shape, content = tensors[name]
            changed = content.copy()
            places = [generator.randrange(content.size) for _ in range(generator.randrange(1, 9))]
            changed[places] = generator.randrange(256)
            broken = {**tensors, name: (kind, shape, changed)}
            found.append(use(c_library, image_of(json.dumps(config), broken)))
    assert set(found) <= OUTCOMES
    assert {Status.OK, Status.CHECKPOINT} <= set(found)


def test_closing_nothing(c_library: CLibrary) -> None:
    c_library.close(None)
    c_library.result_free(None)
    assert c_library.result_count(None) == 0
