"""Converters under CTranslate2's names; what they write, this package's Translator opens."""

from __future__ import annotations

from pytransformer.ctranslate2.converters.converter import Converter
from pytransformer.ctranslate2.converters.fairseq import FairseqConverter
from pytransformer.ctranslate2.converters.marian import MarianConverter
from pytransformer.ctranslate2.converters.opennmt_py import OpenNMTPyConverter
from pytransformer.ctranslate2.converters.opus_mt import OpusMTConverter
from pytransformer.ctranslate2.converters.transformers import TransformersConverter
from pytransformer.ctranslate2.converters.unsupported import (
    OpenAIGPT2Converter,
    OpenNMTTFConverter,
)

__all__ = [
    "Converter",
    "FairseqConverter",
    "MarianConverter",
    "OpenAIGPT2Converter",
    "OpenNMTPyConverter",
    "OpenNMTTFConverter",
    "OpusMTConverter",
    "TransformersConverter",
]
