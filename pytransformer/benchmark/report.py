"""A benchmark's result as text for a terminal and as JSON for programs."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

from pytransformer.benchmark import stages
from pytransformer.benchmark.footprint import Footprint
from pytransformer.benchmark.machine import Machine
from pytransformer.benchmark.measure import (
    Percentiles,
    percentiles,
    same_outputs,
    times_as_fast,
)
from pytransformer.benchmark.session import EngineResult, Result
from pytransformer.benchmark.stages import Stage

JSON_FORMAT = 1

STAGE_NAMES = {
    "encoder": "encoder",
    "decoder": "decoder layers",
    "attention": "attention",
    "output": "output layer",
    "search": "search",
    "rest": "rest",
    "all": "all",
}
_NONE = "-"


def text(result: Result) -> str:
    """The whole result, in lines of at most 100 columns."""
    parts = [_heading(result), _times(result), _stages(result)]
    if len(result.engines) > 1:
        parts.append(_comparison(result))
    return "\n\n".join("\n".join(part) for part in parts) + "\n"


def as_json(result: Result) -> dict[str, Any]:
    """The whole result as JSON values; docs/performance.md lists the keys."""
    workload, ours = result.workload, result.ours
    every = [*result.stages, stages.whole(list(result.stages), result.model.compute_type)]
    return {
        "format": JSON_FORMAT,
        "machine": dataclasses.asdict(result.machine),
        "model": dataclasses.asdict(result.model),
        "workload": {
            "sentences": len(workload.sentences),
            "source_tokens": sum(map(len, workload.sentences)),
            "batch_size": workload.batch_size,
            "beam_size": workload.options.beam_size,
            "forced_length": workload.forced_length,
            "rounds": workload.rounds,
        },
        **_engine_json(ours),
        "stages": {stage.name: _stage_json(stage) for stage in every},
        "counts": {k: v for k, v in result.counts.items() if not k.endswith("_seconds")},
        "peers": [_peer_json(ours, peer) for peer in result.engines[1:]],
    }


def table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    """Lines of columns, two spaces apart: the first one to the left, the others to the right."""
    widths = [max(len(row[i]) for row in (header, *rows)) for i in range(len(header))]
    lines = []
    for row in (header, *rows):
        cells = [row[0].ljust(widths[0]), *map(str.rjust, row[1:], widths[1:])]
        lines.append("  ".join(cells).rstrip())
    return lines


def _heading(result: Result) -> list[str]:
    model, workload, machine = result.model, result.workload, result.machine
    lengths = [len(sentence) for sentence in workload.sentences]
    length = workload.forced_length
    size = workload.batch_size
    facts = {
        "engine": f"pytransformer {result.ours.version}",
        "model": _shortened(model.title),
        "": f"{model.family}, {model.parameters:,} parameters, {model.compute_type}, "
        f"{_megabytes(model.size_bytes)}",
        "text": f"{len(lengths)} sentence{_plural(len(lengths))} of {_span(lengths)} tokens, "
        + ("one at a time" if size == 1 else f"{size} at a time"),
        "search": f"beam {workload.options.beam_size}, "
        + ("free length" if length is None else f"{length} tokens a sentence")
        + f"; {workload.rounds} round{_plural(workload.rounds)}",
    }
    return [f"{name:<10}{value}" for name, value in {**facts, **_machine_facts(machine)}.items()]


def _machine_facts(machine: Machine) -> dict[str, str]:
    peaks = ", ".join(f"{name} {peak:,.0f}" for name, peak in machine.peak_gops.items())
    threads = f"{machine.threads} thread{_plural(machine.threads)}, {machine.cores} cores to use"
    return {
        "machine": f"{_shortened(machine.processor, 45)}, {machine.isa}, {threads}",
        "peak": f"{peaks} GOP/s",
        "reads": f"{machine.memory_gbps:,.1f} GB/s from memory, {machine.weights_gbps:,.1f} GB/s "
        f"where {_megabytes(machine.weights_bytes)} of weights are read over and over",
    }


def _times(result: Result) -> list[str]:
    timings, size = result.ours.timings, result.workload.batch_size
    assert timings is not None
    unit = "per sentence" if size == 1 else f"per batch of {size}"
    rows = [
        [f"latency {unit}", *_milliseconds(percentiles(timings.call_seconds))],
        ["latency per token", *_milliseconds(percentiles(timings.token_seconds))],
    ]
    sentences = len(timings.call_seconds) * size / timings.total_seconds
    lines = table(["", "p50", "p90", "p99"], rows)
    width = len(rows[0][0]) + 2
    facts = {
        "throughput": f"{timings.tokens_per_second:,.0f} tokens/s, {sentences:,.1f} sentences/s"
    }
    if result.ours.footprint is not None:
        facts["load time"] = _duration(result.ours.footprint.load_seconds)
        facts["memory"] = _memory(result.ours.footprint)
    return [*lines, *(f"{name:<{width}}{value}" for name, value in facts.items())]


def _stages(result: Result) -> list[str]:
    header = ["stage", "time", "share", "ops/byte", "GOP/s", "GB/s", "floor", "reached"]
    rows = []
    every = [*result.stages, stages.whole(list(result.stages), result.model.compute_type)]
    for stage in every:
        rows.append(
            [
                STAGE_NAMES[stage.name],
                _duration(stage.seconds),
                _percent(stage.share),
                _number(stage.operations_per_byte),
                _number(stage.gops),
                _number(stage.gbps),
                _NONE if stage.floor_seconds is None else _duration(stage.floor_seconds),
                _percent(stage.reached),
            ]
        )
    return table(header, rows)


def _comparison(result: Result) -> list[str]:
    ours = result.ours
    single = result.workload.batch_size == 1
    speed = "per token" if single else "tokens/s"
    header = ["engine", "format", speed, "load", "memory", "ours is times as fast", "same"]
    rows, failures = [], []
    for engine in result.engines:
        label = f"{engine.name} {engine.version}".strip()
        if engine.timings is None:
            failures.append(_shortened(f"{label}: cannot run this: {engine.error}", 100))
            continue
        rate = engine.timings.tokens_per_second
        rows.append(
            [
                label,
                engine.compute_type,
                f"{1000 / rate:,.2f} ms" if single else f"{rate:,.0f}",
                *_load_and_memory(engine.footprint),
                *(["", ""] if engine is ours else _ratio_and_same(ours, engine)),
            ]
        )
    return [*table(header, rows), *failures]


def _load_and_memory(footprint: Footprint | None) -> list[str]:
    if footprint is None:
        return [_NONE, _NONE]
    peak = footprint.peak_bytes
    return [_duration(footprint.load_seconds), _NONE if peak is None else _megabytes(peak)]


def _ratio_and_same(ours: EngineResult, peer: EngineResult) -> list[str]:
    assert ours.timings is not None
    assert peer.timings is not None
    ratio = times_as_fast(ours.timings, peer.timings)
    same = same_outputs(ours.timings, peer.timings)
    return [
        f"{ratio.value:.2f} ({ratio.low:.2f} to {ratio.high:.2f})",
        f"{same}/{len(ours.timings.outputs)}",
    ]


def _engine_json(engine: EngineResult) -> dict[str, Any]:
    timings = engine.timings
    assert timings is not None
    footprint = engine.footprint
    return {
        "name": engine.name,
        "version": engine.version,
        "compute_type": engine.compute_type,
        "calls": len(timings.call_seconds),
        "seconds": timings.total_seconds,
        "target_tokens": timings.total_tokens,
        "call_seconds": dataclasses.asdict(percentiles(timings.call_seconds)),
        "token_seconds": dataclasses.asdict(percentiles(timings.token_seconds)),
        "tokens_per_second": timings.tokens_per_second,
        "load_seconds": footprint.load_seconds if footprint else None,
        "peak_memory_bytes": footprint.peak_bytes if footprint else None,
        "private_memory_bytes": footprint.private_bytes if footprint else None,
    }


def _peer_json(ours: EngineResult, peer: EngineResult) -> dict[str, Any]:
    if peer.timings is None:
        return {"name": peer.name, "version": peer.version, "error": peer.error}
    assert ours.timings is not None
    ratio = times_as_fast(ours.timings, peer.timings)
    return {
        **_engine_json(peer),
        "ours_times_as_fast": ratio.value,
        "ours_times_as_fast_quartiles": [ratio.low, ratio.high],
        "same_outputs": same_outputs(ours.timings, peer.timings),
        "error": None,
    }


def _stage_json(stage: Stage) -> dict[str, Any]:
    work = stage.work
    return {
        "seconds": stage.seconds,
        "share": stage.share,
        "number_format": work.number_format if work else None,
        "operations": work.operations if work else None,
        "bytes": work.bytes if work else None,
        "gops": stage.gops,
        "gbps": stage.gbps,
        "floor_seconds": stage.floor_seconds,
        "reached": stage.reached,
    }


def _milliseconds(values: Percentiles) -> list[str]:
    return [f"{1000 * value:,.2f} ms" for value in (values.p50, values.p90, values.p99)]


def _duration(seconds: float) -> str:
    if seconds >= 1:
        return f"{seconds:,.2f} s"
    return f"{1000 * seconds:.1f} ms" if seconds >= 0.01 else f"{1000 * seconds:.2f} ms"


def _memory(footprint: Footprint) -> str:
    if footprint.peak_bytes is None:
        return "not told by this system"
    private = footprint.private_bytes
    rest = "" if private is None else f", {_megabytes(private)} of it private"
    return f"{_megabytes(footprint.peak_bytes)} at most{rest}"


def _megabytes(size_bytes: int) -> str:
    return f"{size_bytes / 1e6:,.1f} MB"


def _number(value: float | None) -> str:
    if value is None:
        return _NONE
    return f"{value:,.1f}" if value < 1000 else f"{value:,.0f}"


def _percent(share: float | None) -> str:
    return _NONE if share is None else f"{100 * share:.1f} %"


def _plural(count: int) -> str:
    return "" if count == 1 else "s"


def _span(values: Sequence[int]) -> str:
    least, most = min(values), max(values)
    return str(most) if least == most else f"{least} to {most}"


def _shortened(line: str, width: int = 90) -> str:
    """Cuts out the middle of a line that is too long."""
    if len(line) <= width:
        return line
    kept = width - 1
    return line[: kept - kept // 2] + "…" + line[-(kept // 2) :]
