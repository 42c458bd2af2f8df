"""Train the translation model ("Attention Is All You Need", section 5).

Run it with `torchrun --nproc-per-node N` for N processes of one thread each, which average their
gradients. A run that was stopped goes on from its last checkpoint when started again.
"""

from __future__ import annotations

import argparse
import random
import time
from dataclasses import asdict
from pathlib import Path

import torch
import torch.distributed as dist
from torch import Tensor, nn

from data import (
    CORPORA,
    LANGUAGES,
    Batch,
    Example,
    Vocabulary,
    bare,
    read_corpus,
    read_pairs,
    training_groups,
)
from loss import SmoothedCrossEntropy
from model import ModelConfig, Transformer


def learning_rate(update: int, arguments: argparse.Namespace) -> float:
    """Section 5.3's schedule times `--factor`, then a linear cool-down to zero.

    The cool-down takes the last `--cooldown` of `--updates`; the paper has none.
    """
    rise = update * arguments.warmup**-1.5
    cooling = min(1.0, (arguments.updates - update) / arguments.cooldown)
    return float(arguments.factor * arguments.width**-0.5 * min(update**-0.5, rise) * cooling)


def padding_mask(source: Tensor, pad: int) -> Tensor | None:
    """Minus infinity at padding, `[batch, 1, 1, source length]`; none where nothing is padding."""
    padding = source == pad
    if not bool(padding.any()):
        return None
    return torch.zeros(source.shape).masked_fill_(padding, -torch.inf)[:, None, None]


def batch_loss(
    model: Transformer, batch: Batch, pad: int, smoothing: float
) -> tuple[Tensor, Tensor]:
    """Mean smoothed and mean plain loss of a target token; matrix products in bfloat16."""
    with torch.autocast("cpu", torch.bfloat16):
        hidden = model(batch.source, batch.decoder_input, padding_mask(batch.source, pad))
    real = batch.target != pad
    losses: tuple[Tensor, Tensor] = SmoothedCrossEntropy.apply(  # type: ignore[no-untyped-call]
        hidden[real].float(),
        model.embedding.weight,
        model.output_bias,
        batch.target[real],
        smoothing,
        torch.bfloat16,
    )
    return losses


def average_gradients(parameters: list[nn.Parameter]) -> None:
    """Replace every gradient by its mean over the processes."""
    gradients = [parameter.grad for parameter in parameters if parameter.grad is not None]
    flat = torch.cat([gradient.flatten() for gradient in gradients])
    dist.all_reduce(flat)
    flat /= dist.get_world_size()
    parts = torch.split(flat, [gradient.numel() for gradient in gradients])
    for gradient, part in zip(gradients, parts, strict=True):
        gradient.copy_(part.view_as(gradient))


@torch.no_grad()
def validation_loss(model: Transformer, vocabulary: Vocabulary, examples: list[Example]) -> float:
    """Mean plain loss of a target token, in nats."""
    model.eval()
    total, count = 0.0, 0
    for start in range(0, len(examples), 100):
        batch = vocabulary.pad_batch(examples[start : start + 100])
        tokens = int((batch.target != vocabulary.pad).sum())
        total += float(batch_loss(model, batch, vocabulary.pad, 0.0)[1]) * tokens
        count += tokens
    model.train()
    return total / count


class Training:
    """The state of a run: network, optimiser, and place in the data."""

    def __init__(self, arguments: argparse.Namespace) -> None:
        self.arguments = arguments
        self.worker, self.workers = dist.get_rank(), dist.get_world_size()
        self.vocabulary = Vocabulary(arguments.tokenizer)
        torch.manual_seed(arguments.seed)
        self.config = ModelConfig(
            vocabulary=self.vocabulary.size,
            width=arguments.width,
            heads=arguments.heads,
            inner=arguments.inner,
            encoder_layers=arguments.encoder_layers,
            decoder_layers=arguments.decoder_layers,
            dropout=arguments.dropout,
        )
        self.model = Transformer(self.config)
        self.optimiser = torch.optim.Adam(
            self.model.parameters(), betas=(0.9, 0.98), eps=1e-9, fused=True
        )
        self.update, self.epoch, self.position = 0, 0, 0
        self.started = time.monotonic()
        self._resume()
        torch.manual_seed(arguments.seed + 1000 * self.update + self.worker)

    def _resume(self) -> None:
        last = self.arguments.output / "last.pt"
        if last.exists():
            state = torch.load(last, weights_only=True)
            self.model.load_state_dict(state["model"])
            self.optimiser.load_state_dict(state["optimiser"])
            self.update, self.epoch, self.position = state["place"]

    def save(self) -> None:
        """Write `last.pt` to go on from, and the weights alone to average at export."""
        output: Path = self.arguments.output
        output.mkdir(parents=True, exist_ok=True)
        weights = {"config": asdict(self.config), "model": self.model.state_dict()}
        torch.save(weights, output / f"weights-{self.update:06}.pt")
        place = [self.update, self.epoch, self.position]
        state = {**weights, "optimiser": self.optimiser.state_dict(), "place": place}
        torch.save(state, output / "last.tmp")
        (output / "last.tmp").rename(output / "last.pt")
        for old in sorted(output.glob("weights-*.pt"))[: -self.arguments.keep]:
            old.unlink()

    def step(self, batch: Batch) -> Tensor:
        """One update; the plain loss of this process's batch."""
        self.update += 1
        for group in self.optimiser.param_groups:
            group["lr"] = learning_rate(self.update, self.arguments)
        smoothed, plain = batch_loss(
            self.model, batch, self.vocabulary.pad, self.arguments.smoothing
        )
        self.optimiser.zero_grad()
        smoothed.backward()  # type: ignore[no-untyped-call]
        average_gradients(list(self.model.parameters()))
        self.optimiser.step()
        return plain

    def report(self, text: str) -> None:
        """A line of the log."""
        minutes = (time.monotonic() - self.started) / 60
        print(f"{minutes:6.1f} min  epoch {self.epoch}  update {self.update}  {text}", flush=True)

    def validate(self) -> None:
        """Validation loss by corpus and direction; the processes share the four sets."""
        sets = [(corpus, language) for corpus in CORPORA for language in LANGUAGES]
        for corpus, language in sets[self.worker :: self.workers]:
            pairs = read_pairs(self.arguments.data, corpus, "val")
            examples = self.vocabulary.examples(pairs, language)
            loss = validation_loss(self.model, self.vocabulary, examples)
            self.report(f"validation {corpus} to {language}: {loss:.4f}")

    def run(self) -> None:
        """Train up to `--updates`."""
        pairs = read_corpus(self.arguments.data, "train")
        rng = random.Random(self.arguments.seed)
        examples = [
            example
            for language in LANGUAGES
            for example in self.vocabulary.examples(
                [*pairs, *bare(pairs, language, self.arguments.bare, rng)], language
            )
        ]
        examples = [
            example
            for example in examples
            if max(len(example.source), len(example.target)) <= self.arguments.longest
        ]
        while self.update < self.arguments.updates:
            self._epoch(examples)
            self.epoch, self.position = self.epoch + 1, 0

    def _epoch(self, examples: list[Example]) -> None:
        """The rest of an epoch, from `position` on."""
        losses: list[Tensor] = []
        groups = training_groups(examples, self.arguments.tokens, self.epoch, self.workers)
        for group in groups[self.position * self.workers + self.worker :: self.workers]:
            losses.append(self.step(self.vocabulary.pad_batch(group)))
            self.position += 1
            if self.update % 100 == 0:
                if self.worker == 0:
                    self.report(f"loss {float(torch.stack(losses).mean()):.4f}")
                losses.clear()
            if self.update % self.arguments.every == 0 or self.update == self.arguments.updates:
                if self.worker == 0:
                    self.save()
                self.validate()
            if self.update >= self.arguments.updates:
                break


def parse_arguments() -> argparse.Namespace:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, required=True, help="holds multi30k/ and tatoeba/")
    parser.add_argument("--tokenizer", type=Path, required=True, help="written by tokenizer.py")
    parser.add_argument("--output", type=Path, required=True, help="folder of the checkpoints")
    parser.add_argument("--width", type=int, default=192)
    parser.add_argument("--heads", type=int, default=6)
    parser.add_argument("--inner", type=int, default=512)
    parser.add_argument("--encoder-layers", type=int, default=3)
    parser.add_argument("--decoder-layers", type=int, default=2)
    parser.add_argument("--dropout", type=float, default=0.1)
    parser.add_argument("--smoothing", type=float, default=0.1)
    parser.add_argument("--tokens", type=int, default=1500, help="of a batch of one process")
    parser.add_argument("--longest", type=int, default=60, help="longer examples are left out")
    parser.add_argument(
        "--bare", type=float, default=0.15, help="share of sentences seen without last mark, too"
    )
    parser.add_argument("--factor", type=float, default=1.5, help="of the learning rate")
    parser.add_argument("--warmup", type=int, default=2000)
    parser.add_argument("--updates", type=int, default=12500)
    parser.add_argument("--cooldown", type=int, default=4500, help="linear, the last updates")
    parser.add_argument("--every", type=int, default=250, help="updates between checkpoints")
    parser.add_argument("--keep", type=int, default=12, help="checkpoints kept for averaging")
    parser.add_argument("--seed", type=int, default=1)
    return parser.parse_args()


def main() -> None:
    """Start the process group that `torchrun` describes, and train."""
    arguments = parse_arguments()
    torch.set_num_threads(1)
    dist.init_process_group("gloo")
    Training(arguments).run()
    dist.destroy_process_group()


if __name__ == "__main__":
    main()
