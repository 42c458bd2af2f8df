"""Hugging Face's `generate`; a format is the name of a PyTorch type."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
import transformers

from peers.engine import Engine, Request, Settings, batches_by_length


class Transformers(Engine[Any]):
    def __init__(self, settings: Settings) -> None:
        torch.set_num_threads(settings.threads)
        model = transformers.MarianMTModel.from_pretrained(settings.checkpoint)
        self._model = model.to(getattr(torch, settings.format)).eval()
        # Or the last token would not be the model's.
        self._model.generation_config.forced_eos_token_id = None
        self._tokenizer = transformers.MarianTokenizer.from_pretrained(settings.checkpoint)

    @property
    def version(self) -> str:
        return f"{transformers.__version__}, torch {torch.__version__}"

    def prepare(self, request: Request) -> Callable[[], Any]:
        batches = batches_by_length(request.sentences, request.batch_size)
        inputs = [self._padded([request.sentences[i] for i in batch]) for batch in batches]
        return lambda: [
            (batch, self._generate(padded, request))
            for batch, padded in zip(batches, inputs, strict=True)
        ]

    def outputs(self, raw: Any) -> list[list[str]]:
        found = {i: ids for batch, rows in raw for i, ids in zip(batch, rows, strict=True)}
        # The first token is the start token.
        return [self._tokenizer.convert_ids_to_tokens(found[i][1:]) for i in sorted(found)]

    def _padded(self, sentences: list[list[str]]) -> dict[str, torch.Tensor]:
        ids = [self._tokenizer.convert_tokens_to_ids([*tokens, "</s>"]) for tokens in sentences]
        padded = self._tokenizer.pad({"input_ids": ids}, return_tensors="pt")
        return {name: padded[name] for name in ("input_ids", "attention_mask")}

    def _generate(self, inputs: dict[str, torch.Tensor], request: Request) -> list[list[int]]:
        with torch.inference_mode():
            ids: torch.Tensor = self._model.generate(
                **inputs,
                num_beams=request.beam_size,
                do_sample=False,
                min_new_tokens=request.length,
                max_new_tokens=request.length,
            )
        rows: list[list[int]] = ids.tolist()
        return rows


open_engine = Transformers
