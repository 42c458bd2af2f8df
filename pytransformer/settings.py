"""Settings of a translator as a whole."""

from __future__ import annotations

from dataclasses import dataclass

from pytransformer.compute_types import COMPUTE_TYPE
from pytransformer.errors import OptionError
from pytransformer.option_rules import Integer, check, option, option_infos

_MAX_THREADS = 1024
THREADS = Integer(0, _MAX_THREADS)
_SHORTLIST = Integer(0, 2**31 - 1)


@dataclass(frozen=True)
class TranslatorSettings:
    """Settings of a translator as a whole, with the rules that they keep."""

    compute_type: str = option(
        COMPUTE_TYPE,
        "number format of the weights: default is as stored, auto the fastest that costs at most "
        "0.3 BLEU",
        flags=("--compute-type",),
    )
    inter_threads: int = option(Integer(1, _MAX_THREADS), "sentences translated in parallel")
    intra_threads: int = option(THREADS, "threads for each of them")
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


def check_settings(**arguments: object) -> TranslatorSettings:
    """The settings; raises OptionError for all that is wrong with them."""
    values, problems = check(SETTINGS, arguments)
    if problems:
        raise OptionError("; ".join(problems))
    return TranslatorSettings(**values)
