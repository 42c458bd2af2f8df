"""sacreBLEU (13a, cased) of a model on Multi30k and Tatoeba, greedy and with beam 4, both ways.

With `--compare transformers` every translation is set beside that of `generate` on the same model:
the share of equal lines, and of each other line how far the two candidates are apart in score. A
line that differs by more than 1e-4 is a defect, and the command then fails.

With `--shortlist` everything is translated once more with a lexical shortlist, which
`pytransformer shortlist` learns from the training text beside each set.
"""

from __future__ import annotations

import argparse
import contextlib
import gzip
import json
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import sacrebleu

import pytransformer
from pytransformer.benchmark.native_to_huggingface import write_directory
from pytransformer.cli import main as pytransformer_main
from pytransformer.model_files import BUNDLED_MODEL

SETS = ("multi30k/test_2016_flickr", "tatoeba/val")
LANGUAGES = ("de", "en")
TIE = 1e-4
# Sentences that `generate` pads to the longest of them.
PEER_BATCH = 50


@dataclass(frozen=True)
class Row:
    """One line of the table; `gaps` belong to the lines that are not the same in the peer."""

    corpus: str
    direction: str
    beam_size: int
    bleu: float
    seconds: float
    identical: float | None = None
    peer_bleu: float | None = None
    gaps: tuple[float, ...] = ()
    shortlist_bleu: float | None = None
    shortlist_seconds: float | None = None


class Peer:
    """transformers on the same model, judged by itself in float64."""

    def __init__(self, model: Path, scratch: Path) -> None:
        import torch
        from transformers import MarianMTModel, MarianTokenizer

        # What the tests compare with, too.
        sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "tests"))
        import huggingface_peer

        torch.manual_seed(0)
        directory = model
        if model.is_file():
            directory = scratch
            write_directory(model, directory)
        self._peer = huggingface_peer
        self._model = MarianMTModel.from_pretrained(directory).eval()
        self._judge = huggingface_peer.in_double(self._model)
        self._tokenizer = MarianTokenizer.from_pretrained(directory)

    def translate(
        self, lines: Sequence[str], target: str, beam_size: int
    ) -> tuple[list[str], list[list[int]]]:
        """Text and ids; sentences of similar length go together."""
        sources = self._sources(lines, target)
        search = self._search(beam_size)
        order = sorted(range(len(sources)), key=lambda i: len(sources[i]))
        ids: list[list[int]] = [[]] * len(sources)
        for start in range(0, len(order), PEER_BATCH):
            part = order[start : start + PEER_BATCH]
            found = self._peer.generate(self._model, [sources[i] for i in part], search)
            for i, hypotheses in zip(part, found, strict=True):
                ids[i] = hypotheses[0][0]
        return self._tokenizer.batch_decode(ids, skip_special_tokens=True), ids

    def gaps(
        self,
        lines: Sequence[str],
        target: str,
        beam_size: int,
        ours: Sequence[list[str]],
        theirs: Sequence[list[int]],
    ) -> tuple[float, ...]:
        """Of each line whose tokens differ."""
        own = [self._tokenizer.convert_tokens_to_ids(tokens) for tokens in ours]
        differences = self._peer.differences(
            self._judge,
            self._sources(lines, target),
            [[(ids, 0.0)] for ids in own],
            [[(ids, 0.0)] for ids in theirs],
            self._search(beam_size),
        )
        return tuple(difference.gap for difference in differences)

    def source_tokens(self, lines: Sequence[str], target: str) -> list[list[str]]:
        """The tokens of each line as the peer's tokenizer gives them, end token included."""
        sources = self._sources(lines, target)
        return [self._tokenizer.convert_ids_to_tokens(ids) for ids in sources]

    def _sources(self, lines: Sequence[str], target: str) -> list[list[int]]:
        return [self._tokenizer(f">>{target}<< {line}").input_ids for line in lines]

    def _search(self, beam_size: int) -> Any:
        config = self._model.generation_config
        return self._peer.Search(
            beam_size=beam_size,
            length_penalty=config.length_penalty,
            early_stopping=config.early_stopping,
            # There, it counts the start token and the end token.
            max_length=config.max_length - 2,
            suppressed=tuple(word[0] for word in config.bad_words_ids or []),
        )


def read(data: Path, corpus: str, language: str, limit: int | None) -> list[str]:
    with gzip.open(data / f"{corpus}.{language}.gz", "rt", encoding="utf-8") as lines:
        return [line.rstrip("\n") for line in lines][:limit]


def bleu(found: Sequence[str], reference: Sequence[str]) -> float:
    return round(sacrebleu.corpus_bleu(list(found), [list(reference)]).score, 2)


def measure(
    translator: pytransformer.Translator,
    peer: Peer | None,
    corpus: str,
    sides: dict[str, list[str]],
    target: str,
    beam_size: int,
) -> Row:
    source = LANGUAGES[1 - LANGUAGES.index(target)]
    started = time.perf_counter()
    found = translator.translate(sides[source], tgt_lang=target, beam_size=beam_size)
    seconds = round(time.perf_counter() - started, 2)
    row = Row(corpus, f"{source}-{target}", beam_size, bleu(found, sides[target]), seconds)
    if peer is None:
        return row
    texts, ids = peer.translate(sides[source], target, beam_size)
    tokens = peer.source_tokens(sides[source], target)
    results = translator.translate_batch(tokens, beam_size=beam_size)
    ours = [result.hypotheses[0] for result in results]
    same = sum(a == b for a, b in zip(found, texts, strict=True)) / len(found)
    return Row(
        **{
            **asdict(row),
            "identical": round(100 * same, 2),
            "peer_bleu": bleu(texts, sides[target]),
            "gaps": peer.gaps(sides[source], target, beam_size, ours, ids),
        }
    )


def open_translator(
    arguments: argparse.Namespace, shortlist: Path | None = None
) -> pytransformer.Translator:
    return pytransformer.Translator(
        arguments.model,
        compute_type=arguments.compute_type,
        intra_threads=arguments.threads,
        shortlist=shortlist,
    )


def learn_shortlist(
    arguments: argparse.Namespace, scratch: Path, corpus: str, source: str, target: str
) -> Path:
    """One for a way of a set, from the training text in its folder."""
    path = scratch / f"{corpus.replace('/', '-')}.{source}-{target}.s2t"
    train = arguments.data / Path(corpus).parent / "train"
    sides = ["--source", f"{train}.{source}.gz", "--target", f"{train}.{target}.gz"]
    ways = ["--model", str(arguments.model), "--from", source, "--to", target]
    with contextlib.redirect_stdout(sys.stderr):  # the table alone stands on stdout
        if pytransformer_main(["shortlist", str(path), *sides, *ways]) != 0:
            sys.exit("no shortlist could be learned")
    return path


def with_shortlist(
    row: Row, translator: pytransformer.Translator, lines: list[str], references: list[str]
) -> Row:
    """The row with what a translator that has a shortlist makes of the same lines."""
    started = time.perf_counter()
    target = row.direction.split("-")[1]
    found = translator.translate(lines, tgt_lang=target, beam_size=row.beam_size)
    seconds = round(time.perf_counter() - started, 2)
    return replace(row, shortlist_bleu=bleu(found, references), shortlist_seconds=seconds)


def header(arguments: argparse.Namespace) -> str:
    text = f"{'set':26} {'way':6} {'beam':>4} {'BLEU':>6} {'s':>7}"
    if arguments.shortlist:
        text += f" {'list':>6} {'s':>7} {'loss':>6}"
    return text + (f" {'peer':>6} {'same %':>7}  gaps of the others" if arguments.compare else "")


def line(row: Row) -> str:
    text = f"{row.corpus:26} {row.direction:6} {row.beam_size:4} {row.bleu:6.2f} {row.seconds:7.2f}"
    if row.shortlist_bleu is not None:
        loss = row.bleu - row.shortlist_bleu
        text += f" {row.shortlist_bleu:6.2f} {row.shortlist_seconds:7.2f} {loss:6.2f}"
    if row.identical is None:
        return text
    gaps = ", ".join(f"{gap:.1e}" for gap in sorted(row.gaps, reverse=True)) or "-"
    return f"{text} {row.peer_bleu:6.2f} {row.identical:7.2f}  {gaps}"


def run(arguments: argparse.Namespace) -> list[Row]:
    translator = open_translator(arguments)
    rows = []
    with tempfile.TemporaryDirectory() as temporary:
        scratch = Path(temporary)
        peer = Peer(arguments.model, scratch) if arguments.compare else None
        print(header(arguments), flush=True)
        for corpus in SETS:
            sides = {
                name: read(arguments.data, corpus, name, arguments.limit) for name in LANGUAGES
            }
            for source, target in (LANGUAGES, LANGUAGES[::-1]):
                listed = None
                if arguments.shortlist:
                    path = learn_shortlist(arguments, scratch, corpus, source, target)
                    listed = open_translator(arguments, path)
                for beam_size in arguments.beams:
                    row = measure(translator, peer, corpus, sides, target, beam_size)
                    if listed is not None:
                        row = with_shortlist(row, listed, sides[source], sides[target])
                    print(line(row), flush=True)
                    rows.append(row)
    return rows


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", type=Path, default=BUNDLED_MODEL, help="native file or folder")
    parser.add_argument("--data", type=Path, required=True, help="holds multi30k/ and tatoeba/")
    parser.add_argument("--beams", type=int, nargs="+", default=[1, 4])
    parser.add_argument("--limit", type=int, help="the first lines of each set only")
    parser.add_argument("--threads", type=int, default=0, help="0: all cores")
    parser.add_argument("--compute-type", default="default", help="by default as stored")
    parser.add_argument("--compare", choices=["transformers"])
    parser.add_argument("--shortlist", action="store_true", help="also with lexical shortlists")
    parser.add_argument("--json", type=Path, help="also write the rows to this file")
    arguments = parser.parse_args()
    if arguments.compare and arguments.compute_type not in ("default", "float32"):
        parser.error("--compare: only float32 gives the peer's own results")
    rows = run(arguments)
    if arguments.json:
        text = json.dumps([asdict(row) for row in rows], indent=2)
        arguments.json.write_text(text + "\n", encoding="utf-8")
    far = [gap for row in rows for gap in row.gaps if gap > TIE]
    if far:
        print(f"{len(far)} lines differ by more than {TIE}", file=sys.stderr)
    return 1 if far else 0


if __name__ == "__main__":
    sys.exit(main())
