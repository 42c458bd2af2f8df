"""Types of the extension module, the only place where Python and C++ meet."""

from collections.abc import Sequence
from typing import TypeAlias

import numpy as np
import numpy.typing as npt
from typing_extensions import Buffer

_PackedWeights: TypeAlias = (
    npt.NDArray[np.float32] | npt.NDArray[np.uint16] | npt.NDArray[np.int8] | npt.NDArray[np.uint8]
)
_PackedScales: TypeAlias = npt.NDArray[np.float32] | npt.NDArray[np.uint16]

def supported_isas() -> list[str]:
    """The instruction sets that both this build and this machine have, lowest first."""

def active_isa() -> str:
    """The instruction set in use: the best one, or a lower one that PYTRANSFORMER_ISA names."""

def available_threads() -> int:
    """Cores that this process may use: its affinity, cut by the container's CPU quota."""

class Model:
    """A native model, mapped or in memory; immutable and shared by all its engines."""

    @staticmethod
    def open(path: str) -> Model:
        """Maps the native file at `path`; raises OSError or ValueError that name it."""

    @staticmethod
    def from_buffer(image: Buffer, name: str) -> Model:
        """Uses the native image in `image` (64-byte aligned; kept alive, never copied)."""

    @property
    def config(self) -> str:
        """The JSON text in the file's metadata."""

    @property
    def compute_type(self) -> str:
        """The type of most of the matrices' weights: float32, bfloat16, int8 or int4."""

    @property
    def num_parameters(self) -> int:
        """Stored weights, padding included."""

    @property
    def size_bytes(self) -> int:
        """Size of the native image."""

    def file(self, tensor: str, length: int) -> bytes:
        """The first `length` bytes of the byte tensor named `tensor`."""

class SearchOptions:
    """Options of one search; lengths count tokens without start and end token."""

    def __init__(
        self,
        *,
        beam_size: int,
        num_hypotheses: int,
        length_penalty: float,
        early_stopping: int,
        max_decoding_length: int,
        min_decoding_length: int,
        return_scores: bool,
        decoder_start_token_id: int,
        end_token_ids: Sequence[int],
        forced_end_token_id: int,
        suppress_token_ids: Sequence[int],
        max_batch_size: int,
        batch_by_tokens: bool,
    ) -> None:
        """early_stopping: 0 false, 1 true, 2 "never". forced_end_token_id: -1 for none."""

class Engine:
    """Workers that run searches over one model. Its methods may be called from several threads."""

    def __init__(
        self, model: Model, inter_threads: int, intra_threads: int, isa: str = ""
    ) -> None: ...
    @property
    def isa(self) -> str: ...
    @property
    def inter_threads(self) -> int: ...
    @property
    def intra_threads(self) -> int: ...
    def start_profile(self) -> None:
        """Starts to count from nothing what the workers do; until then nothing is counted."""

    def read_profile(self) -> dict[str, float]:
        """What was done since `start_profile`: `{encoder,decoder,attention,output,search}_seconds`
        of the first thread of each worker, summed, and counts of rows, steps and keys."""

    def translate(
        self, sources: Sequence[Sequence[int]], options: SearchOptions
    ) -> list[list[tuple[list[int], float]]]:
        """For each source (ids, end token included): hypotheses, best first, as (ids without start
        and end token, normalised log-probability). Releases the GIL; KeyboardInterrupt ends it."""

    def encode(self, source: Sequence[int]) -> npt.NDArray[np.float32]:
        """Encoder states [tokens, d_model] of one source."""

    def logits(self, source: Sequence[int], target: Sequence[int]) -> npt.NDArray[np.float32]:
        """Logits [len(target), vocab_size] behind each token of `target` (start token included)."""

class Kernels:
    """The kernels of one instruction set, for tests and benchmarks; float32 arrays in and out."""

    def __init__(self, isa: str) -> None: ...
    @property
    def isa(self) -> str: ...
    @property
    def compiled_isa(self) -> str:
        """The instruction set that the compiler was told to use for this code."""

    def exp(self, x: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]: ...
    def tanh(self, x: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]: ...
    def erf(self, x: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]: ...
    def activation(self, name: str, x: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]: ...
    def softmax(self, x: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
        """Rows [rows, columns]."""

    def layer_norm(
        self,
        x: npt.NDArray[np.float32],
        weight: npt.NDArray[np.float32],
        bias: npt.NDArray[np.float32],
        epsilon: float,
    ) -> npt.NDArray[np.float32]: ...
    def gemm(
        self,
        a: npt.NDArray[np.float32],
        packed: _PackedWeights,
        scales: _PackedScales | None = None,
        bias: npt.NDArray[np.float32] | None = None,
        residual: npt.NDArray[np.float32] | None = None,
        activation: str = "none",
    ) -> npt.NDArray[np.float32]:
        """activation(a @ W^T + bias) + residual; a [m, k] -> [m, n], k % 16 == 0.

        W [n, k] as in a native file (docs/native-format.md): float32 [n/16, k, 16], bfloat16 as
        uint16 [n/16, k/2, 16, 2], int8 [n/16, k/4, 16, 4] with float32 scales [n], or int4 as uint8
        [n/16, groups, 4, 16, 4] with scales uint16 [n/16, groups rounded up to even, 16].
        """

    def gemm_seconds(
        self,
        a: npt.NDArray[np.float32],
        packed: _PackedWeights,
        scales: _PackedScales | None,
        repeats: int,
    ) -> list[float]:
        """How long each of `repeats` products took, with conversion and packing of `a`."""

    def attention(
        self,
        query: npt.NDArray[np.float32],
        key: npt.NDArray[np.float32],
        value: npt.NDArray[np.float32],
        scale: float,
        cache_type: str = "float32",
    ) -> npt.NDArray[np.float32]:
        """softmax(query key^T scale) value; [m, d], [n, d], [n, d] -> [m, d], d % 16 == 0.

        cache_type: in which numbers keys and values are kept, float32 or bfloat16.
        """

    def attention_cached(
        self,
        query: npt.NDArray[np.float32],
        key: npt.NDArray[np.float32],
        value: npt.NDArray[np.float32],
        slots: npt.NDArray[np.int32],
        scale: float,
        cache_type: str = "float32",
    ) -> npt.NDArray[np.float32]:
        """One query [d] over the rows `slots` of key and value [capacity, d], in that order."""

    def top_k(
        self, logits: npt.NDArray[np.float32], k: int
    ) -> tuple[npt.NDArray[np.int32], npt.NDArray[np.float32], npt.NDArray[np.float32]]:
        """The k best of [rows, vocab]: ids [rows, k], logits [rows, k], log-sum-exp [rows].

        Equal logits: the lower id first.
        """

    def embed(
        self,
        ids: npt.NDArray[np.int32],
        packed: _PackedWeights,
        k: int,
        scale: float,
        scales: _PackedScales | None = None,
        positions: npt.NDArray[np.float32] | None = None,
    ) -> npt.NDArray[np.float32]:
        """scale * row `ids[i]` of the packed embedding + positions[i]; -> [len(ids), k]."""

    def peak_gops(self, compute_type: str) -> float:
        """Multiplications and additions per second that one core can do, in 10^9."""

    def read_gbps(self, size_bytes: int) -> float:
        """10^9 bytes per second that one core reads, again and again, of `size_bytes` bytes."""
