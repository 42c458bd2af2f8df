"""CTranslate2, whose options ours are named after."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from pytransformer.benchmark.checkpoint_files import make_once, tokenizer_setting
from pytransformer.benchmark.engines import Opener, PeerError, PeerModel
from pytransformer.benchmark.peer_transformers import quiet_transformers
from pytransformer.benchmark.workload import Batch
from pytransformer.options import TranslationOptions


def prepare_ctranslate2(model: PeerModel) -> Opener:
    """Converts the model with CTranslate2's own converter, unless the cache has it."""
    import ctranslate2

    supported = ctranslate2.get_supported_compute_types("cpu")
    if model.compute_type not in supported:
        raise PeerError(f"has no {model.compute_type} on this processor")
    path = model.cache / f"ctranslate2-{model.compute_type}"

    def convert(out: Path) -> None:
        quiet_transformers()
        _register_loader()
        quantization = None if model.compute_type == "float32" else model.compute_type
        converter = ctranslate2.converters.TransformersConverter(str(model.directory))
        converter.convert(str(out), quantization=quantization)

    make_once(path, convert)
    return lambda: _CTranslate2(path, model)


class _CTranslate2:
    """The engine whose options pytransformer shares."""

    def __init__(self, path: Path, model: PeerModel) -> None:
        import ctranslate2

        self._end = tokenizer_setting(model.directory, "eos_token", "</s>")
        self._translator = ctranslate2.Translator(
            str(path),
            device="cpu",
            inter_threads=1,
            intra_threads=model.threads,
            compute_type=model.compute_type,
        )
        # Where the start token is a token like others, it must not come out.
        config = json.loads((path / "config.json").read_text(encoding="utf-8"))
        start = config["decoder_start_token"]
        self._suppressed = [[start]] if start != self._end else None

    @property
    def compute_type(self) -> str:
        name: str = self._translator.compute_type
        return name.removesuffix("_float32")

    def translate(self, batch: Batch, options: TranslationOptions) -> list[list[str]]:
        results = self._translator.translate_batch(
            [[*tokens, self._end] for tokens in batch],
            beam_size=options.beam_size,
            length_penalty=options.length_penalty,
            min_decoding_length=options.min_decoding_length,
            max_decoding_length=options.max_decoding_length,
            max_batch_size=len(batch),
            suppress_sequences=self._suppressed,
        )
        return [result.hypotheses[0] for result in results]


def _register_loader() -> None:
    """Makes the converter keep the embedding of the start token where it is not zero.

    It takes for granted that it is, as in all models that were trained by Marian, and drops it.
    """
    from ctranslate2.converters import transformers as converters

    class Loader(converters.MarianMTLoader):  # type: ignore[misc]
        def get_model_spec(self, model: Any) -> Any:
            embedding = model.model.decoder.embed_tokens.weight
            self._kept = bool(embedding[model.config.decoder_start_token_id].any())
            return super().get_model_spec(model)

        def set_decoder(self, spec: Any, decoder: Any) -> None:
            super().set_decoder(spec, decoder)
            spec.start_from_zero_embedding = not self._kept

        def get_vocabulary(self, model: Any, tokenizer: Any) -> list[str]:
            tokens: list[str] = super().get_vocabulary(model, tokenizer)
            dropped = tokens[-1] != tokenizer.pad_token
            return [*tokens, tokenizer.pad_token] if self._kept and dropped else tokens

        def set_config(self, config: Any, model: Any, tokenizer: Any) -> None:
            super().set_config(config, model, tokenizer)
            if self._kept:
                config.decoder_start_token = tokenizer.pad_token

        def _remove_pad_weights(self, spec: Any) -> None:
            if not self._kept:
                super()._remove_pad_weights(spec)

    converters.register_loader("MarianConfig")(Loader)
