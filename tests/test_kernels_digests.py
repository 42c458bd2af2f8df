"""Bits that were recorded on another machine: processors agree, not only instruction sets.

`python tests/kernel_digests.py` records them anew, where a change of the arithmetic is meant.
"""

import numpy as np
import pytest

import kernel_digests
from kernel_digests import CASES
from pytransformer._native import Kernels, supported_isas

with_fma = pytest.mark.skipif(
    len(supported_isas()) == 1, reason="this machine has no fused multiply-add"
)
DIGESTS = kernel_digests.read_digests()


def test_each_case_is_recorded() -> None:
    assert list(DIGESTS) == list(CASES)


def test_inputs_are_integers_in_disguise() -> None:
    """So that no library's rounding is in the digests."""
    numbers = kernel_digests.numbers(1, 1000)
    assert (numbers.astype(np.float64) * 2**23 % 1 == 0).all()
    assert numbers.min() < -1.99
    assert numbers.max() > 1.99
    assert len(np.unique(numbers)) == 1000


@with_fma
@pytest.mark.parametrize("name", CASES)
def test_the_recorded_bits(name: str) -> None:
    isas, kernel = CASES[name]
    with np.errstate(all="ignore"):
        found = {isa: kernel_digests.digest(kernel(Kernels(isa))) for isa in isas}
    assert found == dict.fromkeys(isas, DIGESTS[name])


@with_fma
def test_a_digest_sees_the_last_bit() -> None:
    x = kernel_digests.numbers(1, 16)
    changed = x.copy()
    changed[7] = np.nextafter(x[7], np.float32(9))
    assert kernel_digests.digest(x) != kernel_digests.digest(changed)
