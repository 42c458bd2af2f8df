"""What long sentences cost: time per token, and attention's time per key, as lengths grow.

Attention's own arithmetic grows with the number of keys, all else does not depend on it. So the
time per token may grow by what attention takes, and attention's time per key attended should stay
as it is or fall. One sentence at a time, greedy, forced lengths, random weights.

    python bench/long_inputs.py --shape base --compute-type int8 --threads 1
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
from dataclasses import dataclass, replace
from pathlib import Path

import pytransformer
from pytransformer.benchmark.random_checkpoint import SHAPES, random_sentences, write_checkpoint

LENGTHS = [(25, 25), (50, 50), (100, 100), (250, 125), (500, 250), (1000, 500)]
POSITIONS = 1024


@dataclass(frozen=True)
class Row:
    """Medians over the rounds, in microseconds."""

    source: int
    target: int
    per_token: float  # of the target, encoder left aside
    other_per_token: float  # all of it but attention
    per_key: float  # attention of the decoder, for one key of one layer
    encoder_per_token: float  # of the source


def measure(
    translator: pytransformer.Translator, vocab_size: int, source: int, target: int, rounds: int
) -> Row:
    layers = translator._model.spec.decoder.num_layers
    rows = []
    for i in range(rounds + 1):
        sentence = random_sentences([source - 1], vocab_size, seed=i)
        # The encoder alone, and one step: attention's time there belongs to the encoder.
        first = _profile(translator, sentence, 1)
        whole = _profile(translator, sentence, target)
        attention = whole["attention_seconds"] - first["attention_seconds"]
        keys = sum(
            whole[f"{kind}_attention_keys"] - first[f"{kind}_attention_keys"]
            for kind in ("self", "cross")
        )
        other = sum(
            whole[f"{stage}_seconds"] - first[f"{stage}_seconds"]
            for stage in ("decoder", "output", "search")
        )
        encoder = first["encoder_seconds"] + first["attention_seconds"]
        rows.append((attention, keys * layers, other, encoder))
    attention, keys, other, encoder = (
        statistics.median(column) for column in zip(*rows[1:], strict=True)
    )
    steps = target - 1
    return Row(
        source,
        target,
        1e6 * (attention + other) / steps,
        1e6 * other / steps,
        1e6 * attention / keys,
        1e6 * encoder / source,
    )


def _profile(
    translator: pytransformer.Translator, sentence: list[list[str]], length: int
) -> dict[str, float]:
    translator._engine.start_profile()
    translator.translate_batch(
        sentence, beam_size=1, min_decoding_length=length, max_decoding_length=length
    )
    return translator._engine.read_profile()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--shape", choices=sorted(SHAPES), default="base")
    parser.add_argument("--compute-type", default="int8")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--rounds", type=int, default=5)
    arguments = parser.parse_args()
    shape = replace(SHAPES[arguments.shape], max_position_embeddings=POSITIONS)
    with tempfile.TemporaryDirectory() as temporary:
        write_checkpoint(shape, Path(temporary))
        translator = pytransformer.Translator(
            temporary, compute_type=arguments.compute_type, intra_threads=arguments.threads
        )
    print(f"{arguments.shape}, {arguments.compute_type}, {arguments.threads} thread(s)")
    print("source target  us/token  of it not attention  attention, us/key  encoder, us/token")
    for source, target in LENGTHS:
        row = measure(translator, shape.vocab_size, source, target, arguments.rounds)
        print(
            f"{row.source:6} {row.target:6} {row.per_token:9.1f} {row.other_per_token:20.1f} "
            f"{row.per_key:18.3f} {row.encoder_per_token:18.1f}",
            flush=True,
        )


if __name__ == "__main__":
    main()
