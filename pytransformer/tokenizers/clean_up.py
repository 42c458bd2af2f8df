"""Takes away the spaces that English does not have before punctuation."""

from __future__ import annotations

# transformers' clean_up_tokenization, in its order.
_CLEAN_UP = (
    (" .", "."), (" ?", "?"), (" !", "!"), (" ,", ","), (" ' ", "'"),
    (" n't", "n't"), (" 'm", "'m"), (" 's", "'s"), (" 've", "'ve"), (" 're", "'re"),
)  # fmt: skip


def clean_up(text: str) -> str:
    """The text as transformers gives it where `clean_up_tokenization_spaces` is true."""
    for ugly, clean in _CLEAN_UP:
        text = text.replace(ugly, clean)
    return text
