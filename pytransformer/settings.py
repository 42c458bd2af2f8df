"""Settings of translators, generators and encoders as a whole."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeVar

from pytransformer.compute_types import COMPUTE_TYPE
from pytransformer.errors import OptionError
from pytransformer.option_rules import Integer, check, option, option_infos

_MAX_THREADS = 1024
THREADS = Integer(0, _MAX_THREADS)
_SHORTLIST = Integer(0, 2**31 - 1)
_MEMORY = Integer(0, 2**48)


@dataclass(frozen=True)
class EngineSettings:
    """Settings of any model, with the rules that they keep."""

    compute_type: str = option(
        COMPUTE_TYPE,
        "number format of the weights: default is as stored, auto the fastest that costs at most "
        "0.3 BLEU",
        flags=("--compute-type",),
    )
    inter_threads: int = option(Integer(1, _MAX_THREADS), "sentences translated in parallel")
    intra_threads: int = option(THREADS, "threads for each of them")
    max_memory: int = option(
        _MEMORY,
        "bytes that translating may take besides the model; 0 for no limit",
        flags=("--max-memory",),
    )


@dataclass(frozen=True)
class TranslatorSettings(EngineSettings):
    """Settings of a translator."""

    shortlist_first: int = option(
        _SHORTLIST,
        "with a shortlist: so many of the vocabulary's first tokens are always possible",
        flags=("--shortlist-first",),
    )
    shortlist_best: int = option(
        _SHORTLIST,
        "with a shortlist: so many translations of each source token are possible",
        flags=("--shortlist-best",),
    )


SETTINGS = option_infos(TranslatorSettings)


_Settings = TypeVar("_Settings", bound=EngineSettings)


def check_settings(kind: type[_Settings], **arguments: object) -> _Settings:
    """Settings of a kind; raises OptionError for all that is wrong with them."""
    values, problems = check(option_infos(kind), arguments)
    if problems:
        raise OptionError("; ".join(problems))
    return kind(**values)
