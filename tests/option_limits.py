"""What a made-up model says about options, for tests that need no model."""

from __future__ import annotations

from pytransformer.decoding import DecodingLimits
from pytransformer.model_spec import GenerationSpec

_VOCABULARY = {"</s>": 0, "<unk>": 1, "▁a": 2, ".": 3, "b": 4}

GENERATION = GenerationSpec(
    decoder_start_token_id=999,
    end_token_id=0,
    forced_end_token_id=0,
    suppress_token_ids=(999,),
    max_decoding_length=100,
    min_decoding_length=2,
    beam_size=4,
    length_penalty=0.6,
    early_stopping=True,
    more_end_token_ids=(5,),
    forced_bos_token_id=7,
    repetition_penalty=1.2,
    no_repeat_ngram_size=3,
    suppress_sequences=((2, 3),),
)


def _text_ids(text: str) -> list[int]:
    """Words stand for themselves, with or without the mark of a space; hyphens for nothing."""
    words = text.replace("-", "").split()
    return [_VOCABULARY.get(word, _VOCABULARY.get(f"▁{word}", 1)) for word in words]


LIMITS = DecodingLimits(
    generation=GENERATION,
    vocab_size=1000,
    max_source_length=64,
    max_decoding_length=63,
    target_id=_VOCABULARY.get,
    text_ids=_text_ids,
    unknown_id=lambda: 1,
    num_layers=2,
    num_heads=8,
)
