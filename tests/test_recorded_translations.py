"""The bundled model's translations and the bits of their scores, recorded on another machine.

`python tests/recorded_translations.py` records them anew; its docstring says when.
"""

import pytest

import recorded_translations
from kernel_checks import FMA_ISAS, same_bits_isas
from recorded_translations import BEAMS
from reference_formats import COMPUTE_TYPES

RECORDS = recorded_translations.read_records()


@pytest.mark.skipif(not FMA_ISAS, reason="this machine has no fused multiply-add")
@pytest.mark.parametrize("beam_size", BEAMS)
@pytest.mark.parametrize("compute_type", COMPUTE_TYPES)
def test_the_recorded_translations(compute_type: str, beam_size: int) -> None:
    for isa in same_bits_isas(compute_type):
        found = recorded_translations.translations(compute_type, isa, beam_size)
        assert found == RECORDS[f"{compute_type} {beam_size}"], isa
