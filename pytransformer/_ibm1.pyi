from typing import Any, final

import numpy as np
import numpy.typing as npt

_Ids = npt.NDArray[np.integer[Any]]

@final
class Ibm1:
    """The translation table t(target | source), and one step of its estimation.

    All methods that take sentences take them as ids `[tokens]` one after another and offsets
    `[sentences + 1]`, for each side, and raise ValueError if an id or an offset is out of bounds.
    One thread may use a table at a time.
    """

    def __init__(self, source_size: int, target_size: int, null_word: bool = True) -> None: ...
    @property
    def num_pairs(self) -> int:
        """How many pairs of tokens stand together in some sentence pair, with the NULL word's."""

    def add_pairs(
        self, source: _Ids, source_offsets: _Ids, target: _Ids, target_offsets: _Ids
    ) -> None:
        """Makes room for what stands together in these sentences; forgets what was learned."""

    def expect(
        self, source: _Ids, source_offsets: _Ids, target: _Ids, target_offsets: _Ids
    ) -> float:
        """Adds the expected counts of these sentences; gives their log-likelihood (natural).

        Raises ValueError if the table has no probability for a target token.
        """

    def maximise(self) -> None:
        """Makes the counts the new table, a distribution over targets for each source token."""

    def table(
        self, threshold: float = 0.0
    ) -> tuple[npt.NDArray[np.int32], npt.NDArray[np.int32], npt.NDArray[np.float64]]:
        """Source ids, target ids and probabilities of at least `threshold`, without zeros.

        Sorted by source id, then probability from the highest, then target id.
        """
