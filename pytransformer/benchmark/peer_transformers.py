"""Hugging Face transformers, on PyTorch in float32."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from pytransformer.benchmark.checkpoint_files import tokenizer_setting
from pytransformer.benchmark.engines import Opener, PeerModel
from pytransformer.benchmark.workload import Batch, forced_length
from pytransformer.options import TranslationOptions


def prepare_transformers(model: PeerModel) -> Opener:
    """Imports PyTorch and the model's class."""
    import torch
    from transformers import MarianMTModel

    quiet_transformers()
    torch.set_num_threads(model.threads)
    return lambda: _Transformers(MarianMTModel, model.directory)


def quiet_transformers() -> None:
    """No progress bars and advice between the lines of the benchmark."""
    from transformers.utils import logging

    logging.set_verbosity_error()
    logging.disable_progress_bar()


class _Transformers:
    """PyTorch in float32, by `generate`, which pads the sentences of a batch."""

    compute_type = "float32"

    def __init__(self, model_class: Any, directory: Path) -> None:
        self._model = model_class.from_pretrained(directory).float().eval()
        self._forced_end = self._model.generation_config.forced_eos_token_id
        self._end = self._model.generation_config.eos_token_id
        self._padding = self._model.config.pad_token_id
        self._source = json.loads((directory / "vocab.json").read_text(encoding="utf-8"))
        target = directory / "target_vocab.json"
        separate = tokenizer_setting(directory, "separate_vocabs", False)
        vocabulary = json.loads(target.read_text("utf-8")) if separate else self._source
        self._target = {index: token for token, index in vocabulary.items()}
        self._unknown = self._source[tokenizer_setting(directory, "unk_token", "<unk>")]

    def translate(self, batch: Batch, options: TranslationOptions) -> list[list[str]]:
        import torch

        ids = [[*(self._source.get(t, self._unknown) for t in s), self._end] for s in batch]
        longest = max(map(len, ids))
        rows = [[*row, *[self._padding] * (longest - len(row))] for row in ids]
        mask = [[1] * len(row) + [0] * (longest - len(row)) for row in ids]
        # At a forced length the end token would cost a step that the other engines do without.
        forced = forced_length(options) is not None
        end = None if forced else self._forced_end
        # Here as in an argument, None would mean the model's own; it is its own.
        self._model.generation_config.forced_eos_token_id = end
        # There, lengths count the start token, and the longest counts a forced end token.
        with torch.inference_mode():
            output = self._model.generate(
                input_ids=torch.tensor(rows),
                attention_mask=torch.tensor(mask),
                do_sample=False,
                num_beams=options.beam_size,
                length_penalty=options.length_penalty,
                early_stopping=options.early_stopping,
                min_length=options.min_decoding_length + 1 if options.min_decoding_length else 0,
                max_length=options.max_decoding_length + (1 if end is None else 2),
            )
        return [self._tokens(row) for row in output[:, 1:].tolist()]

    def _tokens(self, ids: list[int]) -> list[str]:
        """Those of a hypothesis, without the end token and what fills it up."""
        if self._end in ids:
            ids = ids[: ids.index(self._end)]
        return [self._target[i] for i in ids if i != self._padding]
