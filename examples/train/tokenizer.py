"""Train the shared subword vocabulary of both languages ("Attention Is All You Need", section 5.1).

One SentencePiece model serves as `source.spm` and `target.spm`. Its ids are those of `vocab.json`,
in the layout of the opus-mt checkpoints: `</s>` 0, `<unk>` 1, the pieces, the language prefixes,
and `<pad>` last.
"""

from __future__ import annotations

import argparse
import json
import shutil
from pathlib import Path

import sentencepiece

from data import LANGUAGES, read_corpus

PREFIXES = tuple(f">>{language}<<" for language in LANGUAGES)
PAD = "<pad>"


def train_tokenizer(data: Path, output: Path, pieces: int) -> None:
    """Write `source.spm`, `target.spm` and `vocab.json` into the folder `output`."""
    output.mkdir(parents=True, exist_ok=True)
    sentences = [line for pair in read_corpus(data, "train") for line in (pair.de, pair.en)]
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(sentences),
        model_prefix=str(output / "joint"),
        model_type="unigram",
        vocab_size=pieces,
        character_coverage=0.9998,
        normalization_rule_name="nmt_nfkc",
        eos_id=0,
        unk_id=1,
        bos_id=-1,
        pad_id=-1,
        minloglevel=1,
    )
    (output / "joint.vocab").unlink()
    (output / "joint.model").rename(output / "source.spm")
    shutil.copyfile(output / "source.spm", output / "target.spm")
    processor = sentencepiece.SentencePieceProcessor(model_file=str(output / "source.spm"))
    names = [processor.id_to_piece(index) for index in range(processor.get_piece_size())]
    vocabulary = {name: index for index, name in enumerate([*names, *PREFIXES, PAD])}
    text = json.dumps(vocabulary, ensure_ascii=False, indent=0)
    (output / "vocab.json").write_text(text + "\n", encoding="utf-8")


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, required=True, help="holds multi30k/ and tatoeba/")
    parser.add_argument("--output", type=Path, required=True, help="folder of the tokenizer")
    parser.add_argument("--pieces", type=int, default=3984, help="size of the SentencePiece model")
    arguments = parser.parse_args()
    train_tokenizer(arguments.data, arguments.output, arguments.pieces)


if __name__ == "__main__":
    main()
