"""Native files of every compute type, from a checkpoint and from one another."""

from __future__ import annotations

import dataclasses
import json
import tracemalloc
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

from mutations import damaged
from native_images import config_text, stored_tensors
from pytransformer import CheckpointError, OptionError, native
from pytransformer.model_spec import Checkpoint, PositionSpec
from pytransformer.native_conversion import converted_image
from pytransformer.native_entry import Entry, Matrix
from pytransformer.native_layout import entries
from pytransformer.panels import FORMATS
from random_models import model_spec, random_checkpoint, stack

TYPES = list(FORMATS)
DTYPES = {"float32": "F32", "bfloat16": "BF16", "int8": "I8", "int4": "U8"}


@dataclass(frozen=True)
class Opened:
    """What a conversion asks of the opened model; the engine's own would refuse damaged files."""

    config: str
    compute_type: str


@pytest.fixture(scope="module")
def checkpoint() -> Checkpoint:
    """Widths that leave groups of int4 incomplete, vectors of every kind, a file."""
    encoder = stack(d_model=40, positions=PositionSpec("learned", 7), embedding_norm=True)
    spec = model_spec(encoder=encoder, shared_embedding=False, tied_output=False)
    return dataclasses.replace(random_checkpoint(spec), files={"a.txt": b"some text"})


def write(path: Path, image: np.ndarray, compute_type: str) -> Opened:
    native.write_image(image, path)
    return Opened(config_text(image), compute_type)


def matrix_names(checkpoint: Checkpoint) -> set[str]:
    items = entries(checkpoint.model, checkpoint.tensors)
    return {item.name for item in items if isinstance(item, Matrix)}


@pytest.mark.parametrize("compute_type", TYPES)
def test_only_matrices_change_type(checkpoint: Checkpoint, compute_type: str) -> None:
    plain = stored_tensors(native.build_image(checkpoint))
    found = stored_tensors(native.build_image(checkpoint, compute_type))
    names = matrix_names(checkpoint)
    assert len(names) == 24
    scales = {f"{name}.scales" for name in names} if compute_type in ("int8", "int4") else set()
    assert found.keys() == plain.keys() | scales
    for name, (dtype, _, content) in found.items():
        if name in names:
            assert dtype == DTYPES[compute_type]
        elif name not in scales:
            assert (dtype, content.tobytes()) == (plain[name][0], plain[name][2].tobytes())
        assert content.size % 64 == 0


def test_a_checkpoint_becomes_float32_unless_told_otherwise(checkpoint: Checkpoint) -> None:
    images = {
        name: native.build_image(checkpoint, name).tobytes()
        for name in ("default", "float32", "auto", "int8", "int8_float16")
    }
    assert images["default"] == images["float32"] == native.build_image(checkpoint).tobytes()
    assert images["auto"] == images["int8"] == images["int8_float16"]


@pytest.mark.parametrize("compute_type", TYPES)
def test_from_float32_as_from_the_checkpoint(
    tmp_path: Path, checkpoint: Checkpoint, compute_type: str
) -> None:
    path = tmp_path / "model"
    opened = write(path, native.build_image(checkpoint), "float32")
    image = converted_image(path, opened, compute_type)
    if compute_type == "float32":
        assert image is None
    else:
        assert image is not None
        assert image.tobytes() == native.build_image(checkpoint, compute_type).tobytes()
        assert image.ctypes.data % 64 == 0


@pytest.mark.parametrize("source", TYPES)
@pytest.mark.parametrize("target", TYPES)
def test_from_any_to_any(tmp_path: Path, checkpoint: Checkpoint, source: str, target: str) -> None:
    """What a type lost stays lost, and is all that is lost: as by way of float32."""
    path = tmp_path / "model"
    opened = write(path, native.build_image(checkpoint, source), source)
    direct = converted_image(path, opened, target)
    if source == target:
        assert direct is None
        return
    assert direct is not None
    wide = converted_image(path, opened, "float32")
    if wide is not None:
        opened = write(path, wide, "float32")
    again = converted_image(path, opened, target)
    assert direct.tobytes() == (wide if again is None else again).tobytes()


def test_blocks_join(tmp_path: Path) -> None:
    """Matrices of several blocks, the last one smaller."""
    spec = model_spec(encoder=stack(vocab_size=30_001), decoder=stack(vocab_size=30_001))
    checkpoint = random_checkpoint(spec)
    path = tmp_path / "model"
    opened = write(path, native.build_image(checkpoint), "float32")
    for compute_type in ("bfloat16", "int8", "int4"):
        image = converted_image(path, opened, compute_type)
        assert image is not None
        assert image.tobytes() == native.build_image(checkpoint, compute_type).tobytes()
    stored = stored_tensors(native.build_image(checkpoint, "int8"))
    scales = stored["shared.embedding.weight.scales"][2].view(np.float32)
    largest = np.abs(checkpoint.tensors["shared.embedding.weight"]).max(axis=1)
    np.testing.assert_array_equal(scales[:30_001], largest / np.float32(127))
    assert not scales[30_001:].any()


@pytest.mark.parametrize(
    ("stored", "wanted", "expected"),
    [
        ("float32", "auto", "int8"),
        ("bfloat16", "auto", "int8"),
        ("int8", "auto", None),
        ("int4", "auto", None),
        ("float32", "default", None),
        ("int8", "default", None),
        ("int8", "int8_float32", None),
        ("float32", "int8_bfloat16", "int8"),
    ],
)
def test_auto_default_and_aliases(
    tmp_path: Path, checkpoint: Checkpoint, stored: str, wanted: str, expected: str | None
) -> None:
    path = tmp_path / "model"
    opened = write(path, native.build_image(checkpoint, stored), stored)
    image = converted_image(path, opened, wanted)
    if expected is None:
        assert image is None
    else:
        assert image is not None
        tensors = stored_tensors(image)
        assert {tensors[name][0] for name in matrix_names(checkpoint)} == {DTYPES[expected]}


def test_unknown_type_is_refused(tmp_path: Path, checkpoint: Checkpoint) -> None:
    opened = write(tmp_path / "model", native.build_image(checkpoint), "float32")
    for wrong in ("float16", "int16", ""):
        with pytest.raises(OptionError, match=r"compute_type is .* expected one of .*'bfloat16'"):
            converted_image(tmp_path / "model", opened, wrong)
        with pytest.raises(OptionError, match="compute_type"):
            native.build_image(checkpoint, wrong)


def mixed_image(checkpoint: Checkpoint) -> np.ndarray:
    """Embeddings and the output layer in int8, all else in float32."""
    plan: list[Entry] = []
    for item in entries(checkpoint.model, checkpoint.tensors):
        if isinstance(item, Matrix):
            small = "embedding" in item.name or item.name == "output.weight"
            plan.append(item.stored_as("int8" if small else "float32"))
        else:
            plan.append(item)
    return native.assemble(config_text(native.build_image(checkpoint)), plan)


def test_file_of_several_types(tmp_path: Path, checkpoint: Checkpoint) -> None:
    checkpoint = dataclasses.replace(checkpoint, files={})
    path = tmp_path / "model"
    opened = write(path, mixed_image(checkpoint), "float32")
    assert converted_image(path, opened, "default") is None
    image = converted_image(path, opened, "int8")
    assert image is not None
    assert image.tobytes() == native.build_image(checkpoint, "int8").tobytes()
    image = converted_image(path, opened, "float32")
    assert image is not None
    tensors = stored_tensors(image)
    assert not [name for name in tensors if name.endswith(".scales")]
    expected = checkpoint.tensors["output.weight"]
    found = FORMATS["float32"].unpack(
        (tensors["output.weight"][2].view(np.float32).reshape(tensors["output.weight"][1]),), 32
    )[: len(expected), : expected.shape[1]]
    assert 0 < np.abs(found - expected).max() < 0.01 * np.abs(expected).max()


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_what_is_not_finite_is_refused_by_name(
    tmp_path: Path, checkpoint: Checkpoint, bad: float
) -> None:
    name = "decoder.layers.1.feed_forward.up.weight"
    weight = checkpoint.tensors[name].copy()
    weight[-1, -1] = bad
    broken = dataclasses.replace(checkpoint, tensors={**checkpoint.tensors, name: weight})
    path = tmp_path / "model"
    opened = write(path, native.build_image(broken), "float32")
    for compute_type in ("int8", "int4"):
        with pytest.raises(CheckpointError, match=f"{name}.* NaN or infinity.*{compute_type}"):
            native.build_image(broken, compute_type)
        with pytest.raises(CheckpointError, match=f"{path}.*{name}.* NaN or infinity"):
            converted_image(path, opened, compute_type)
    assert converted_image(path, opened, "bfloat16") is not None


def test_memory(tmp_path: Path) -> None:
    """The image, the tensor that is being read, and little else."""
    spec = model_spec(
        encoder=stack(vocab_size=20_000, d_model=256), decoder=stack(vocab_size=20_000, d_model=256)
    )
    checkpoint = random_checkpoint(spec)
    path = tmp_path / "model"
    opened = write(path, native.build_image(checkpoint), "float32")
    for compute_type in ("bfloat16", "int8", "int4"):
        tracemalloc.start()
        image = converted_image(path, opened, compute_type)
        peak = tracemalloc.get_traced_memory()[1]
        assert image is not None
        assert peak < image.size + 6e6
        del image
        tracemalloc.reset_peak()
        image = native.build_image(checkpoint, compute_type)
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        assert peak < image.size + 6e6


class TestFileThatChanged:
    """The engine found the file good; by the time it is converted, it is another."""

    def changed(self, path: Path, edit: dict[str, object]) -> None:
        """Overrides what the header says of the tensor output.weight."""
        content = path.read_bytes()
        size = int.from_bytes(content[:8], "little")
        header = json.loads(content[8 : 8 + size])
        header["output.weight"].update(edit)
        text = json.dumps(header).encode().ljust(size + 64)
        path.write_bytes(len(text).to_bytes(8, "little") + text + content[8 + size :])

    @pytest.mark.parametrize(
        "edit",
        [
            {"dtype": "F16"},
            {"dtype": ["F32"]},
            {"dtype": "I8"},
            {"shape": [-1]},
            {"shape": [4, 20, 16]},
            {"shape": [1 << 100]},
            {"shape": "F32"},
            {"data_offsets": [0]},
            {"data_offsets": [0, 1 << 80]},
            {"data_offsets": [64, 0]},
            {"data_offsets": ["a", "b"]},
        ],
    )
    def test_tensor(self, tmp_path: Path, checkpoint: Checkpoint, edit: dict[str, object]) -> None:
        path = tmp_path / "model"
        opened = write(path, native.build_image(checkpoint), "float32")
        self.changed(path, edit)
        with pytest.raises(CheckpointError, match=rf"{path}.*output\.weight|{path}.*changed"):
            converted_image(path, opened, "int8")

    def test_other_model(self, tmp_path: Path, checkpoint: Checkpoint) -> None:
        path = tmp_path / "model"
        opened = write(path, native.build_image(checkpoint), "float32")
        write(path, native.build_image(random_checkpoint(model_spec())), "float32")
        with pytest.raises(CheckpointError, match=f"{path}.*changed"):
            converted_image(path, opened, "int8")
        path.write_bytes(b"")
        with pytest.raises(CheckpointError, match="not a native model file"):
            converted_image(path, opened, "int8")

    @pytest.mark.parametrize("stored", TYPES)
    def test_damage(self, tmp_path: Path, checkpoint: Checkpoint, stored: str) -> None:
        """Damage in the header is refused or leaves an image that the engine will check."""
        path = tmp_path / "model"
        image = native.build_image(checkpoint, stored)
        opened = write(path, image, stored)
        refused = 0
        for content in damaged(image.tobytes(), 60, reach=9000):
            path.write_bytes(content)
            for target in ("float32", "int8"):
                try:
                    converted_image(path, opened, target)
                except CheckpointError as error:
                    assert str(path) in str(error)  # noqa: PT017
                    refused += 1
        assert refused
