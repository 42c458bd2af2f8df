"""Random models of well-known sizes as CTranslate2 directories, which both engines open.

The weights are those that transformers draws for a new model; CTranslate2's own converter writes
them. The pieces are "▁0", "▁1", … behind the special tokens.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

# Sizes of google-t5/t5-base and facebook/m2m100_418M, as in their config.json.
T5_BASE = {"d_model": 768, "d_kv": 64, "d_ff": 3072, "num_heads": 12, "num_layers": 12}
T5_VOCABULARY = 32128
M2M100_VOCABULARY = 128112
VOCABULARIES = {"t5-base": T5_VOCABULARY, "m2m100-418m": M2M100_VOCABULARY}


class Pieces:
    """What the converter asks a tokenizer for."""

    bos_token, eos_token, unk_token, pad_token = "<s>", "</s>", "<unk>", "<pad>"
    num_madeup_words = 0

    def __init__(self, special: list[str], size: int) -> None:
        self.tokens = [*special, *(f"▁{i}" for i in range(size - len(special)))]
        self.unk_token_id = self.tokens.index(self.unk_token)
        self.special_tokens_map: dict[str, Any] = {}

    def get_vocab(self) -> dict[str, int]:
        return {token: i for i, token in enumerate(self.tokens)}

    def convert_ids_to_tokens(self, token_id: int) -> str:
        return self.tokens[token_id]


def write_ctranslate2(name: str, number_format: str, directory: Path) -> None:
    """Writes the model of that name, its weights in one of CTranslate2's quantizations."""
    from ctranslate2.converters import transformers as converters

    model, tokenizer = _t5() if name == "t5-base" else _m2m100()
    loader = converters._MODEL_LOADERS[type(model.config).__name__]
    spec = loader(model.eval(), tokenizer)
    spec.validate()
    spec.optimize(quantization=None if number_format == "float32" else number_format)
    directory.mkdir(parents=True)
    spec.save(str(directory))


def _t5() -> tuple[Any, Pieces]:
    import transformers

    config = transformers.T5Config(
        **T5_BASE, num_decoder_layers=T5_BASE["num_layers"], vocab_size=T5_VOCABULARY
    )
    special = ["<pad>", "</s>", "<unk>"]
    return transformers.T5ForConditionalGeneration(config), Pieces(special, T5_VOCABULARY)


def _m2m100() -> tuple[Any, Pieces]:
    import transformers

    config = transformers.M2M100Config()  # its defaults are the 418M model's sizes
    special = ["<s>", "<pad>", "</s>", "<unk>"]
    return transformers.M2M100ForConditionalGeneration(config), Pieces(special, M2M100_VOCABULARY)
