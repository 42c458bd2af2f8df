"""ONNX Runtime on what Optimum exports, with a search of our own.

A format is float32, or int8 for its dynamic quantization. The search keeps the key and value caches
inside ONNX Runtime, which takes less time than going through `generate` of transformers.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import onnxruntime
import torch

from peers.engine import Engine, Request, Settings, batches_by_length, make_once
from peers.onnxruntime_search import Beam, Greedy

# A cache's name, such as 0.decoder.key, and its values.
Caches = dict[str, onnxruntime.OrtValue]

END = 0
PARTS = ("encoder_model", "decoder_model", "decoder_with_past_model")


class OnnxRuntime(Engine[list[tuple[list[int], list[list[int]]]]]):
    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        vocabulary = json.loads((settings.checkpoint / "vocab.json").read_text(encoding="utf-8"))
        self._id = vocabulary
        self._token = {i: token for token, i in vocabulary.items()}
        self._padding = vocabulary["<pad>"]
        torch.set_num_threads(settings.intra_threads)
        self._pool = ThreadPoolExecutor(settings.inter_threads)
        folder = _exported(settings)
        self._encoder, self._first_step, self._later_step = (
            _session(folder / f"{part}.onnx", settings.intra_threads) for part in PARTS
        )

    @property
    def version(self) -> str:
        return f"{onnxruntime.__version__} {self._settings.format}"

    def prepare(self, request: Request) -> Callable[[], list[tuple[list[int], list[list[int]]]]]:
        batches = batches_by_length(request.sentences, request.batch_size)
        ids = [[self._id[t] for t in tokens] + [END] for tokens in request.sentences]
        inputs = [_padded([ids[i] for i in batch], self._padding) for batch in batches]

        def translate(padded: np.ndarray) -> list[list[int]]:
            return self._translate(padded, request.beam_size, request.length)

        return lambda: list(zip(batches, self._pool.map(translate, inputs), strict=True))

    def outputs(self, raw: list[tuple[list[int], list[list[int]]]]) -> list[list[str]]:
        found = {i: ids for batch, rows in raw for i, ids in zip(batch, rows, strict=True)}
        return [[self._token[id_] for id_ in found[i]] for i in sorted(found)]

    def _translate(self, ids: np.ndarray, beam_size: int, length: int) -> list[list[int]]:
        search = Greedy() if beam_size == 1 else Beam(beam_size)
        mask = (ids != self._padding).astype(np.int64)
        encoded = _run(self._encoder, {"input_ids": _value(ids), "attention_mask": _value(mask)})
        start = np.full((len(ids), 1), self._padding)
        logits, caches = self._step(
            self._first_step, start, mask, {"encoder_hidden_states": encoded["last_hidden_state"]}
        )
        for step in range(length):
            rows, tokens = search.extend(logits)
            if step + 1 == length:
                break
            if rows is not None:
                # What belongs to the source is the same in all rows of a sentence.
                moved = caches if step == 0 else {n: v for n, v in caches.items() if "decoder" in n}
                caches = {**caches, **{n: _value(v.numpy()[rows]) for n, v in moved.items()}}
                mask = mask[rows] if step == 0 else mask
            logits, fresh = self._step(
                self._later_step,
                tokens,
                mask,
                {f"past_key_values.{name}": value for name, value in caches.items()},
            )
            caches = {**caches, **fresh}
        return search.best()

    def _step(
        self,
        session: onnxruntime.InferenceSession,
        tokens: np.ndarray,
        mask: np.ndarray,
        others: dict[str, onnxruntime.OrtValue],
    ) -> tuple[torch.Tensor, Caches]:
        found = _run(
            session, {"input_ids": _value(tokens), "encoder_attention_mask": _value(mask), **others}
        )
        logits = torch.from_numpy(found.pop("logits").numpy()[:, -1])
        # Neither ends a translation before its time.
        logits[:, [END, self._padding]] = -torch.inf
        return logits, {name.removeprefix("present."): value for name, value in found.items()}


def _run(
    session: onnxruntime.InferenceSession, inputs: dict[str, onnxruntime.OrtValue]
) -> dict[str, onnxruntime.OrtValue]:
    names = [output.name for output in session.get_outputs()]
    return dict(zip(names, session.run_with_ort_values(names, inputs), strict=True))


def _value(array: np.ndarray) -> onnxruntime.OrtValue:
    return onnxruntime.OrtValue.ortvalue_from_numpy(np.ascontiguousarray(array))


def _padded(ids: Sequence[Sequence[int]], padding: int) -> np.ndarray:
    padded = np.full((len(ids), max(map(len, ids))), padding, np.int64)
    for row, sentence in zip(padded, ids, strict=True):
        row[: len(sentence)] = sentence
    return padded


def _session(path: Path, threads: int) -> onnxruntime.InferenceSession:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.log_severity_level = 3
    return onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])


def _exported(settings: Settings) -> Path:
    """The folder with the three parts, made where they are missing."""
    folder = settings.models / "onnx-float32"
    make_once(folder, lambda out: _export(settings.checkpoint, out))
    if settings.format == "float32":
        return folder
    if settings.format != "int8":
        raise ValueError(f"no such format: {settings.format}")
    quantized = settings.models / "onnx-int8"
    make_once(quantized, lambda out: _quantize(folder, out))
    return quantized


def _export(checkpoint: Path, out: Path) -> None:
    from optimum.exporters.onnx import main_export

    main_export(
        str(checkpoint),
        output=out,
        task="text2text-generation-with-past",
        library_name="transformers",
        # Both decoders as files of their own: a merged one would choose at every step.
        no_post_process=True,
    )


def _quantize(folder: Path, out: Path) -> None:
    from onnxruntime.quantization import QuantType, quantize_dynamic

    out.mkdir()
    for name in (f"{part}.onnx" for part in PARTS):
        quantize_dynamic(folder / name, out / name, weight_type=QuantType.QInt8, per_channel=True)


open_engine = OnnxRuntime
