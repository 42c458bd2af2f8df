"""Calls of CTranslate2's interface, each made on it and on ours.

`python ctranslate2_calls.py` records what CTranslate2 4.8.5 gives, for where it is not installed.
"""

from __future__ import annotations

import json
import tempfile
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from ctranslate2_models import LIVELY, write_model
from ctranslate2_peer import Call, Peer, outcome

FILE = Path(__file__).with_name("ctranslate2_calls.json")

A = ["12", "13", "19"]
B = ["0", "13", "17", "3", "5"]
UNKNOWN = ["12", "strange", "19"]
# Nothing is forbidden, so that log-probabilities are the model's own.
SHORT: dict[str, Any] = {"min_decoding_length": 0, "max_decoding_length": 12}
FREE: dict[str, Any] = {**SHORT, "return_scores": True}
GREEDY: dict[str, Any] = {**FREE, "beam_size": 1}


def _translate(*args: Any, **options: Any) -> Call:
    return lambda peer: peer.translate(*args, **options)


def _open(*args: Any, **settings: Any) -> Call:
    return lambda peer: peer.open(*args, **settings).compute_type


def _score(*args: Any, **options: Any) -> Call:
    return lambda peer: peer.translator.score_batch(*args, **options)


def _tokens(*args: Any, **options: Any) -> Call:
    return lambda peer: list(peer.translator.generate_tokens(*args, **options))


def _with_callback(ends: Callable[[Any], bool], *args: Any, **options: Any) -> Call:
    def call(peer: Peer) -> Any:
        told: list[Any] = []

        def callback(step: Any) -> bool:
            told.append(step)
            return ends(step)

        results = peer.translate(*args, **options, callback=callback)
        told.sort(key=lambda step: (step.batch_id, step.step))
        return [results, told]

    return call


def _file(method: str, sources: str, more: str | None = None, **options: Any) -> Call:
    def call(peer: Peer) -> Any:
        with tempfile.TemporaryDirectory() as name:
            directory = Path(name)
            paths = {part: str(directory / part) for part in ("source", "more", "output")}
            Path(paths["source"]).write_text(sources)
            Path(paths["more"]).write_text(more or "")
            given = [paths["source"], paths["output"], *([paths["more"]] if more else [])]
            if method == "score_file":
                given = [paths["source"], paths["more"], paths["output"]]
            stats = getattr(peer.translator, method)(*given, **options)
            return [Path(paths["output"]).read_text(), stats.num_tokens, stats.num_examples]

    return call


def _unloaded(peer: Peer) -> Any:
    translator = peer.open()
    translator.unload_model(to_cpu=True)
    states = [translator.model_is_loaded]
    translator.unload_model()
    states.append(translator.model_is_loaded)
    states.append(outcome(lambda _: translator.translate_batch([A]), peer))
    states.append(translator.translate_batch([]))
    translator.load_model()
    return [*states, translator.model_is_loaded, translator.translate_batch([A], **GREEDY)]


def _asynchronous(peer: Peer) -> Any:
    results = peer.translate([A, [], B], asynchronous=True, **GREEDY)
    found = [result.result() for result in results]
    again = [result.result() for result in results]
    return [found, again, [result.done() for result in results]]


def _in_memory(change: Callable[[dict[str, Any]], Any]) -> Call:
    def call(peer: Peer) -> Any:
        translator = peer.open("name", files=change(peer.files()))
        return translator.translate_batch([A], **GREEDY)

    return call


def _as_dictionary(peer: Peer) -> Any:
    (result,) = peer.translate([A], return_attention=True, **GREEDY)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        found = result[0]
    return [len(result), found, [warning.category.__name__ for warning in caught]]


def _logits(peer: Peer) -> Any:
    (result,) = peer.translate(
        [A], [["4"]], return_logits_vocab=True, **{**GREEDY, "min_decoding_length": 3}
    )
    views = result.logits[0]
    values = [np.array(view) for view in views]
    first = views[0]
    names = [first.dtype.name, first.device, first.device_index, list(first.shape)]
    return [names, [np.clip(row, -1e30, None).tolist() for row in values], str(first)[-40:]]


CALLS: dict[str, Call] = {
    "greedy": _translate([A, B], **GREEDY),
    "beams": _translate([A, B], **{**FREE, "beam_size": 3, "num_hypotheses": 2}),
    "default options": _translate([A, B], max_decoding_length=12),
    "tuples": _translate(((*A,),), **GREEDY),
    "nothing": _translate([]),
    "empty sentence": _translate([[], A], return_attention=True, **GREEDY),
    "empty hypotheses": _translate([[]], **{**FREE, "num_hypotheses": 2}),
    "begin and end alone": _translate([["<s>"], ["</s>"], ["<s>", "</s>"]], **GREEDY),
    "empty with a prefix": _translate([[]], [["4", "what"]], return_attention=True, **GREEDY),
    "prefixes": _translate([A, B], [["4", "6"], ["11"]], return_attention=True, **GREEDY),
    "some prefixes": _translate([A, B], [None, ["4"]], **GREEDY),
    "unknown prefix": _translate([A], [["what"]], **GREEDY),
    "long prefix": _translate([A], [["4"] * 20], beam_size=1, max_decoding_length=5),
    "beams with prefixes": _translate([A], [["4", "6"]], **{**FREE, "beam_size": 3}),
    "fewer prefixes": _translate([A, B], [["4"]]),
    "unknown source": _translate([UNKNOWN], **GREEDY),
    "end token returned": _translate(
        [A, B], return_end_token=True, return_attention=True, **GREEDY
    ),
    "attention": _translate([A, B], return_attention=True, **GREEDY),
    "other end token": _translate([B], end_token="1", **GREEDY),
    "other end tokens": _translate([B], end_token=["1", "6"], return_end_token=True, **GREEDY),
    "end token ids": _translate([B], end_token=[9, 4], **GREEDY),
    "unknown end token": _translate([A], end_token="what"),
    "unknown suppressed": _translate([A], suppress_sequences=[["what"]]),
    "cut source": _translate([B], max_input_length=4, **GREEDY),
    "cut source keeps its end": _translate(
        [[*B, "</s>"], [*B, "</s>", "4"]], max_input_length=4, **GREEDY
    ),
    "longest": _translate(
        [B], beam_size=3, max_decoding_length=3, min_decoding_length=0, return_scores=True
    ),
    "shortest": _translate([A, B], beam_size=1, min_decoding_length=6, max_decoding_length=9),
    "no penalty": _translate([A, B], **{**FREE, "length_penalty": 0, "beam_size": 3}),
    "patience": _translate([A, B], **{**FREE, "patience": 2, "beam_size": 3}),
    "one at a time": _translate([A, B, UNKNOWN], max_batch_size=1, **GREEDY),
    "so many tokens": _translate([A, B], max_batch_size=5, batch_type="tokens", **GREEDY),
    "temperature without sampling": _translate(
        [A], sampling_temperature=0.1, sampling_topp=0.5, **GREEDY
    ),
    "temperature of 0": _translate([A], sampling_topk=5, sampling_temperature=0, **GREEDY),
    "map that is not there": _translate([A], use_vmap=True, **GREEDY),
    "a length of True": _translate([A], beam_size=True, max_decoding_length=5),
    "alternatives": _translate([A], return_alternatives=True, **{**GREEDY, "num_hypotheses": 4}),
    "alternatives behind a prefix": _translate(
        [A], [["4"]], return_alternatives=True, **{**GREEDY, "num_hypotheses": 3}
    ),
    "likely alternatives": _translate(
        [A],
        return_alternatives=True,
        min_alternative_expansion_prob=0.05,
        **{**GREEDY, "num_hypotheses": 6},
    ),
    "logits": _logits,
    "asynchronous": _asynchronous,
    "asynchronous with a callback": lambda peer: [
        one.result()
        for one in peer.translate([A, B], asynchronous=True, callback=lambda _: False, **GREEDY)
    ],
    "as a dictionary": _as_dictionary,
    "iterable": lambda peer: list(
        peer.translator.translate_iterable(iter([A, B, A]), max_batch_size=2, **GREEDY)
    ),
    "iterable with prefixes": lambda peer: list(
        peer.translator.translate_iterable([A, B], [["4"], ["6"]], **GREEDY)
    ),
    "iterables of two lengths": lambda peer: list(
        peer.translator.translate_iterable([A, B], [["4"]])
    ),
    "iterable in batches of 0": lambda peer: list(
        peer.translator.translate_iterable([A], max_batch_size=0)
    ),
    "iterable by what": lambda peer: list(
        peer.translator.translate_iterable([A], batch_type="words")
    ),
    "callback": _with_callback(lambda step: False, [A, B], **GREEDY),
    "callback without scores": _with_callback(
        lambda step: False, [A], **{**GREEDY, "return_scores": False}
    ),
    "callback with prefixes": _with_callback(
        lambda step: False, [A, B], [["4", "6"], None], **GREEDY
    ),
    "callback that ends": _with_callback(lambda step: step.step == 2, [A, B], **GREEDY),
    "callback with beams": _with_callback(lambda step: False, [A]),
    "callback of a wrong type": _translate([A], beam_size=1, callback=3),
    "tokens": _tokens(A, max_decoding_length=12, min_decoding_length=0),
    "tokens with scores": _tokens(
        B, ["4"], return_log_prob=True, max_decoding_length=12, min_decoding_length=0
    ),
    "tokens of nothing": _tokens([]),
    "tokens with beams": _tokens(A, beam_size=2),
    "scores": _score([A, B, []], [["4", "6"], [], ["6"]]),
    "scores from the third on": _score([A], [["4", "6", "8"]], offset=2),
    "scores behind the end": _score([A], [["4"]], offset=9),
    "scores of an end token": _score([A], [["4", "</s>"]]),
    "scores of what is cut": _score([B], [["4", "6", "8", "9"]], max_input_length=3),
    "scores of unknown tokens": _score([UNKNOWN], [["what"]]),
    "scores asynchronously": lambda peer: [
        one.result()
        for one in peer.translator.score_batch([A, []], [["4"], ["5"]], asynchronous=True)
    ],
    "scores of an iterable": lambda peer: list(
        peer.translator.score_iterable([A, B], [["4"], []], max_batch_size=1)
    ),
    "file": _file("translate_file", "12 13 19\n\n0  13 17 3 5\r\n", beam_size=1, **SHORT),
    "file with scores": _file(
        "translate_file",
        "12 13 19\n0 13 17 3 5",
        with_scores=True,
        num_hypotheses=2,
        **SHORT,
    ),
    "file with prefixes": _file(
        "translate_file", "12 13 19\n0 13 17 3 5\n", "4\n6 8\n", beam_size=1, **SHORT
    ),
    "file with functions": _file(
        "translate_file",
        "571\n",
        source_tokenize_fn=list,
        target_detokenize_fn="+".join,
        beam_size=1,
        **SHORT,
    ),
    "file with one function": _file("translate_file", "571\n", source_tokenize_fn=list),
    "scored file": _file("score_file", "12 13 19\n0 13\n", "4 6\n8\n"),
    "scored file with tokens": _file("score_file", "12 13 19\n", "4 6\n", with_tokens_score=True),
    "scored file with one function": _file("score_file", "5\n", "4\n", source_tokenize_fn=list),
    "files that are not there": lambda peer: peer.translator.translate_file(
        "/nowhere/a", "/nowhere/b"
    ),
    "unloaded": _unloaded,
    "in memory": _in_memory(lambda files: files),
    "in memory without a model": _in_memory(lambda files: {}),
    "in memory without tokens": _in_memory(lambda files: {"model.bin": files["model.bin"]}),
    "in memory as a list": _in_memory(lambda files: [1]),
    "in memory of a wrong type": _in_memory(lambda files: {"model.bin": 3}),
    "no such model": _open("/nowhere"),
    "unknown device": _open(device="tpu"),
    "auto device": lambda peer: peer.open(device="auto").device,
    "another index": _open(device_index=1),
    "no index": _open(device_index=[]),
    "two indices": lambda peer: [
        (one := peer.open(device_index=[0, 0], inter_threads=2)).num_translators,
        one.device_index,
    ],
    "int8": _open(compute_type="int8"),
    "auto": _open(compute_type="auto"),
    "default": _open(compute_type="default"),
    "float": _open(compute_type="float"),
    "by device": _open(compute_type={"cpu": "int8", "cuda": "float16"}),
    "by another device": _open(compute_type={"cuda": "float16"}),
    "float16": _open(compute_type="float16"),
    "unknown compute type": _open(compute_type="int3"),
    "flash attention": _open(flash_attention=True),
    "tensor parallel": _open(tensor_parallel=True),
    "properties": lambda peer: [
        (one := peer.open()).device,
        one.device_index,
        one.compute_type,
        one.num_translators,
        one.num_queued_batches,
        one.num_active_batches,
        one.model_is_loaded,
        one.tensor_parallel,
    ],
    "as a generator": lambda peer: peer.module.Generator(peer.path),
    "as an encoder": lambda peer: peer.module.Encoder(peer.path),
    "contains_model": lambda peer: [
        peer.module.contains_model(path) for path in (peer.path, "/", "/nowhere")
    ],
    "log level": lambda peer: peer.module.get_log_level(),
    "wrong log level": lambda peer: peer.module.set_log_level(7),
    "seed": lambda peer: peer.module.set_random_seed(3),
    "wrong seed": lambda peer: peer.module.set_random_seed(-3),
    "compute types of what": lambda peer: peer.module.get_supported_compute_types("tpu"),
    "view": lambda peer: str(peer.module.StorageView.from_array(np.ones((2, 4), np.int32))),
    "view back": lambda peer: np.array(
        peer.module.StorageView.from_array(np.arange(6, dtype=np.float32).reshape(2, 3)).to(
            peer.module.DataType.float16
        )
    ).tolist(),
    "view of a wrong type": lambda peer: peer.module.StorageView.from_array(np.ones(3)),
    "view of a list": lambda peer: peer.module.StorageView.from_array([1, 2]),
    "module": lambda peer: sorted(
        name for name in ("converters", "models", "specs") if hasattr(peer.module, name)
    ),
    **{
        f"wrong source {i}": _translate(wrong)
        for i, wrong in enumerate(("abc", ["abc"], [[1, 2]], None, iter([A]), 3, [A, None]))
    },
    **{
        f"wrong prefix {i}": _translate([A], wrong)
        for i, wrong in enumerate(("abc", ["abc"], [[1, 2]], 3))
    },
    **{
        f"{name} {value!r}": _translate([A], **{name: value})
        for name, value in (
            ("beam_size", 0),
            ("beam_size", -1),
            ("beam_size", 1.5),
            ("beam_size", "2"),
            ("patience", 0),
            ("num_hypotheses", 0),
            ("num_hypotheses", 3),
            ("min_decoding_length", 999),
            ("max_decoding_length", 0),
            ("repetition_penalty", 0),
            ("prefix_bias_beta", 1.0),
            ("sampling_topp", 0),
            ("sampling_topp", 1.5),
            ("sampling_topk", -1),
            ("batch_type", "words"),
            ("max_batch_size", -1),
            ("something", 1),
            ("return_scores", "yes"),
            ("end_token", 3),
            ("suppress_sequences", ["ab"]),
            ("length_penalty", "1"),
        )
    },
    "too many drawn from": _translate([A], sampling_topk=99, beam_size=1),
    "too many samples": _translate([A], num_hypotheses=2, beam_size=1),
    "impossible alternatives": _translate(
        [A], return_alternatives=True, min_alternative_expansion_prob=2.0
    ),
    "biased alternatives": _translate([A], return_alternatives=True, prefix_bias_beta=0.5),
}


def read_records() -> dict[str, Any]:
    """What CTranslate2 gave, by the name of the call."""
    records: dict[str, Any] = json.loads(FILE.read_text())
    return records


def main() -> None:
    """Writes the records."""
    import ctranslate2

    with tempfile.TemporaryDirectory() as directory:
        peer = Peer(ctranslate2, write_model(Path(directory), LIVELY))
        records = {name: outcome(call, peer) for name, call in CALLS.items()}
    lines = ",\n".join(f"{json.dumps(name)}:{_dumped(value)}" for name, value in records.items())
    FILE.write_text("{\n" + lines + "\n}\n")


def _dumped(value: Any) -> str:
    return json.dumps(_rounded(value), separators=(",", ":"))


def _rounded(value: Any) -> Any:
    if isinstance(value, float):
        return float(f"{value:.6g}")
    if isinstance(value, dict):
        return {key: _rounded(item) for key, item in value.items()}
    return [_rounded(item) for item in value] if isinstance(value, list) else value


if __name__ == "__main__":
    main()
