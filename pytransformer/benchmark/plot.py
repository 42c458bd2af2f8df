"""A benchmark's result as a picture: the roofline, and how long translations take."""

from __future__ import annotations

import importlib.util
import os
from collections.abc import Sequence
from typing import Any

import numpy as np

from pytransformer.benchmark.machine import Machine
from pytransformer.benchmark.measure import percentiles
from pytransformer.benchmark.report import STAGE_NAMES
from pytransformer.benchmark.session import Result
from pytransformer.benchmark.stages import Stage, whole
from pytransformer.errors import OptionError

_SIZE = (13.0, 5.5)  # inches
_DOTS_PER_INCH = 120
# Colours that most colour-blind readers can tell apart (Okabe and Ito).
_COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9")
_STAGE_COLOURS = dict(
    zip(("encoder", "decoder", "attention", "output", "all"), (*_COLOURS[:4], "black"), strict=True)
)
_ROOF = "#555555"
_FAINT = "#bbbbbb"


def check_installed() -> None:
    """Raises OptionError if matplotlib is missing."""
    if importlib.util.find_spec("matplotlib") is None:
        raise OptionError("--plot needs matplotlib: pip install matplotlib")


def draw(result: Result, path: str | os.PathLike[str]) -> None:
    """Writes a PNG; raises OptionError without matplotlib, OSError if it cannot be written."""
    check_installed()
    from matplotlib.figure import Figure

    figure = Figure(figsize=_SIZE, layout="constrained")
    roofline, latency = figure.subplots(1, 2)
    _draw_roofline(roofline, result)
    _draw_latency(latency, result)
    workload, threads = result.workload, result.machine.threads
    figure.suptitle(
        f"{result.model.title}, {result.model.compute_type}, {result.machine.isa}, "
        f"{threads} thread{'s' if threads > 1 else ''}, batch {workload.batch_size}, "
        f"beam {workload.options.beam_size}"
    )
    with open(path, "wb") as file:
        figure.savefig(file, format="png", dpi=_DOTS_PER_INCH)


def _draw_roofline(axes: Any, result: Result) -> None:
    every = [*result.stages, whole(list(result.stages), result.model.compute_type)]
    points = [stage for stage in every if stage.operations_per_byte and stage.gops]
    used = {stage.work.number_format for stage in points if stage.work}
    _draw_roofs(axes, result.machine, used, [stage.operations_per_byte or 1 for stage in points])
    for stage in points:
        total = stage.name == "all"
        axes.plot(
            [stage.operations_per_byte],
            [stage.gops],
            "*" if total else "o",
            markersize=14 if total else 10,
            color=_STAGE_COLOURS[stage.name],
            markeredgecolor="white",
            label=_stage_label(stage),
        )
    lowest = min((stage.gops or 1 for stage in points), default=1)
    axes.set_ylim(0.4 * min(lowest, result.machine.memory_gbps), 3 * _highest(result.machine))
    axes.set_xlabel("operations per byte read")
    axes.set_ylabel("10⁹ operations per second")
    axes.set_title("What the stages reach, below the machine's roofs", fontsize=11)
    axes.legend(loc="lower right", fontsize=9)


def _draw_roofs(axes: Any, machine: Machine, used: set[str], found: Sequence[float]) -> None:
    """The slopes of reading and the ceilings of arithmetic; those not in use are faint."""
    highest = _highest(machine)
    slowest = min(machine.memory_gbps, machine.weights_gbps)
    left = 0.3 * min([*found, 1.0])
    right = 4 * max([*found, highest / slowest])
    axes.set_xscale("log")
    axes.set_yscale("log")
    axes.set_xlim(left, right)
    slopes = [("memory", machine.memory_gbps, "--"), ("the weights", machine.weights_gbps, "-")]
    for name, speed, style in slopes:
        x = np.array([left, highest / speed])
        label = f"reading {name}: {speed:,.0f} GB/s"
        axes.plot(x, speed * x, style, color=_ROOF, linewidth=1.5, label=label)
    fastest = max(machine.memory_gbps, machine.weights_gbps)
    formats = {"int8" if name == "int4" else name for name in used}
    for name, peak in machine.peak_gops.items():
        colour = _ROOF if name in formats else _FAINT
        axes.plot([peak / fastest, right], [peak, peak], color=colour, linewidth=1.5)
        axes.annotate(
            f"{name}: {peak:,.0f} GOP/s",
            (right, peak),
            xytext=(-4, 3),
            textcoords="offset points",
            ha="right",
            fontsize=9,
            color=colour if colour == _ROOF else "#888888",
        )


def _draw_latency(axes: Any, result: Result) -> None:
    """The share of calls that are done after so long, for each engine."""
    engines = [engine for engine in result.engines if engine.timings is not None]
    everything: list[float] = []
    for number, engine in enumerate(engines):
        assert engine.timings is not None
        times = np.sort(np.array(engine.timings.call_seconds)) * 1000
        shares = np.arange(1, len(times) + 1) / len(times) * 100
        colour = _COLOURS[number % len(_COLOURS)]
        label = f"{engine.name} {engine.version}"
        axes.step(times, shares, where="post", color=colour, linewidth=1.8, label=label)
        everything += times.tolist()
        if number == 0:
            found = percentiles(engine.timings.call_seconds)
            for percent, seconds in ((50, found.p50), (90, found.p90), (99, found.p99)):
                axes.plot([1000 * seconds], [percent], "o", color=colour, markersize=5)
                axes.annotate(
                    f"p{percent}: {1000 * seconds:.3g} ms",
                    (1000 * seconds, percent),
                    xytext=(-7, 4),
                    textcoords="offset points",
                    ha="right",
                    fontsize=9,
                    color=colour,
                )
    if max(everything) > 20 * min(everything):
        axes.set_xscale("log")
    size = result.workload.batch_size
    axes.set_xlabel("ms per sentence" if size == 1 else f"ms per batch of {size} sentences")
    axes.set_ylabel("% of them done")
    axes.set_ylim(0, 106)
    axes.set_title("How long a translation takes", fontsize=11)
    axes.grid(visible=True, alpha=0.3)
    axes.legend(loc="lower right", fontsize=9)


def _stage_label(stage: Stage) -> str:
    if stage.name == "all":
        return "all together"
    return f"{STAGE_NAMES[stage.name]} ({100 * stage.share:.0f} % of the time)"


def _highest(machine: Machine) -> float:
    return max(machine.peak_gops.values())
