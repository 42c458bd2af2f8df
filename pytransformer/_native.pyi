"""Types of the extension module, the only place where Python and C++ meet."""

from collections.abc import Sequence
from typing import Literal, TypeAlias, overload

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

# The functions of pytransformer.h, for `cimport pytransformer`.
c_table: object

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

    @property
    def is_mapped(self) -> bool:
        """Whether the image is the file itself, and not in the process's own memory."""

    def file(self, tensor: str, length: int) -> bytes:
        """The first `length` bytes of the byte tensor named `tensor`."""

class TokenList:
    """Ids of tokens, in order and each once, that several requests share."""

    def __init__(self, ids: Sequence[int]) -> None: ...

class Request:
    """One sentence, and what is asked of it alone.

    source: ids with the end token. target: a prefix of the translation, or what is to be scored.
    force_words: phrases that must come as well, and behind which none of `continuations` may stand
    at once. allowed: the only tokens that may be generated. seed: of sampling. segments: the types
    of the source's tokens, where the model tells several apart. A decoder alone reads the source
    before it generates.
    """

    def __init__(
        self,
        source: Sequence[int],
        target: Sequence[int] = (),
        force_phrases: Sequence[Sequence[int]] = (),
        allowed: TokenList | None = None,
        seed: int = 0,
        force_words: Sequence[Sequence[int]] = (),
        continuations: TokenList | None = None,
        segments: Sequence[int] = (),
    ) -> None: ...
    @staticmethod
    def of_vectors(vectors: npt.NDArray[np.float32]) -> Request:
        """A source [length, vector_size] for an encoder that reads vectors; copied."""

class SearchOptions:
    """Options of one search; lengths count tokens without start and end token."""

    @overload
    def __init__(self) -> None: ...
    @overload
    def __init__(self, other: SearchOptions) -> None:
        """A copy."""

    encode: bool
    score_targets: bool
    beam_size: int
    num_hypotheses: int
    patience: float
    length_penalty: float
    coverage_penalty: float
    repetition_penalty: float
    no_repeat_ngram_size: int
    renormalize_logits: bool
    num_beam_groups: int
    diversity_penalty: float
    early_stopping: int  # 0 false, 1 true, 2 "never"
    beam_rule: int  # 0 "generate", 1 "marian", 2 "ctranslate2"
    max_decoding_length: int
    min_decoding_length: int
    max_length_factor: float
    prefix_bias_beta: float
    return_alternatives: bool
    min_alternative_expansion_prob: float
    stop_loops: bool
    sampling_topk: int
    sampling_topp: float
    sampling_temperature: float
    return_scores: bool
    return_end_token: bool
    return_attention: bool
    return_logits: bool
    stream: bool
    attention_layer: int
    attention_heads: Sequence[int]
    decoder_start_token_id: int
    end_token_ids: Sequence[int]
    forced_bos_token_id: int  # -1 for none, likewise the next
    forced_end_token_id: int
    suppress_token_ids: Sequence[int]
    suppress_sequences: Sequence[Sequence[int]]
    max_batch_size: int
    batch_by_tokens: bool

class Hypothesis:
    """A translation as ids; docs/decoding.md says how its score is made."""

    @property
    def ids(self) -> list[int]: ...
    @property
    def score(self) -> float: ...
    @property
    def log_probs(self) -> list[float]:
        """Of each token, the end token included, the prefix not; empty if nobody needs them."""

    @property
    def reason(self) -> Literal["end", "length", "loop", "stop"]: ...
    @property
    def attention(self) -> npt.NDArray[np.float32] | None:
        """[ids, source], if asked for."""

    @property
    def logits(self) -> npt.NDArray[np.float32] | None:
        """[log_probs, vocabulary], if asked for: log-probabilities."""

    # Of a job that only encodes, which gives one such result for each source. No array is copied.
    @property
    def states(self) -> npt.NDArray[np.float32] | None:
        """[length, d_model]."""

    @property
    def pooled(self) -> npt.NDArray[np.float32] | None:
        """[pooler_size], if the model has a pooler."""

    @property
    def label_logits(self) -> npt.NDArray[np.float32] | None:
        """[labels], if the model classifies."""

class TokenEvent:
    """A token of a running search that nothing can change any more."""

    @property
    def sentence(self) -> int: ...
    @property
    def step(self) -> int: ...
    @property
    def token(self) -> int: ...
    @property
    def log_prob(self) -> float: ...
    @property
    def last(self) -> bool: ...

class Job:
    """Sentences on their way through an engine."""

    def done(self) -> bool: ...
    def result(self) -> list[list[Hypothesis]]:
        """Waits; may be called once. Ctrl-C cancels the job and is raised."""

    def events(self) -> list[TokenEvent]:
        """Waits for tokens that became certain; an empty list is the end of the job."""

    def cancel(self) -> None: ...
    def stop(self, sentence: int, tokens: int) -> None:
        """Ends one sentence after so many tokens."""

class Completions:
    """Which of several jobs have ended, for one thread that waits for all of them."""

    def __init__(self) -> None: ...
    def add(self, job: Job, name: int) -> None: ...
    def wait(self) -> list[int]:
        """Waits for names of jobs that ended; an empty list after close()."""

    def close(self) -> None: ...

class DefaultFloatEnvironment:
    """In its block, the thread rounds to the nearest number and computes with denormals."""

    def __init__(self) -> None: ...
    def __enter__(self) -> None: ...
    def __exit__(self, *exception: object) -> None: ...

class Engine:
    """Workers that run searches over one model. Its methods may be called from several threads."""

    def __init__(
        self,
        model: Model,
        inter_threads: int,
        intra_threads: int,
        isa: str = "",
        max_memory: int = 0,
    ) -> None:
        """`max_memory`: bytes that the work may take; 0 for no limit."""

    @property
    def isa(self) -> str: ...
    @property
    def inter_threads(self) -> int: ...
    @property
    def intra_threads(self) -> int: ...
    @property
    def max_memory(self) -> int: ...
    def start_profile(self) -> None:
        """Starts to count from nothing what the workers do; until then nothing is counted."""

    def read_profile(self) -> dict[str, float]:
        """What was done since `start_profile`: `{encoder,decoder,attention,output,search}_seconds`
        of the first thread of each worker, summed, and counts of rows, steps and keys."""

    def submit(self, requests: Sequence[Request], options: SearchOptions) -> Job:
        """Checks all of it (ValueError, MemoryLimitError) and queues it."""

    def encode(self, source: Sequence[int]) -> npt.NDArray[np.float32]:
        """Encoder states [tokens, d_model] of one source."""

    def logits(self, source: Sequence[int], target: Sequence[int]) -> npt.NDArray[np.float32]:
        """Logits [len(target), vocab_size] behind each token of `target` (start token included)."""

    def attention(
        self, source: Sequence[int], target: Sequence[int]
    ) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.float32], npt.NDArray[np.float32]]:
        """Attention under a given target (start token included), each [layers, heads, ...]:
        encoder [source, source], decoder [target, target], cross [target, source]."""

class LayerKernels:
    """The kernels of layers on one instruction set, for tests; float32 arrays in and out."""

    def __init__(self, isa: str) -> None: ...
    def layer_norm(
        self,
        x: npt.NDArray[np.float32],
        weight: npt.NDArray[np.float32],
        bias: npt.NDArray[np.float32],
        epsilon: float,
        kind: str = "layer",
    ) -> npt.NDArray[np.float32]: ...
    def attention(
        self,
        query: npt.NDArray[np.float32],
        key: npt.NDArray[np.float32],
        value: npt.NDArray[np.float32],
        scale: float,
        cache_type: str = "float32",
        weights: npt.NDArray[np.float32] | None = None,
        bias: npt.NDArray[np.float32] | None = None,
    ) -> npt.NDArray[np.float32]:
        """softmax(query key^T scale) value; [m, d], [n, d], [n, d] -> [m, d], d % 16 == 0.

        cache_type: in which numbers keys and values are kept, float32 or bfloat16.
        weights: where the softmax goes, [m, n].
        """

    def attention_cached(
        self,
        query: npt.NDArray[np.float32],
        key: npt.NDArray[np.float32],
        value: npt.NDArray[np.float32],
        slots: npt.NDArray[np.int32],
        scale: float,
        cache_type: str = "float32",
        weights: npt.NDArray[np.float32] | None = None,
        bias: npt.NDArray[np.float32] | None = None,
    ) -> npt.NDArray[np.float32]:
        """One query [d] over the rows `slots` of key and value [capacity, d], in that order.

        weights: where the softmax goes, [slots].
        """

    def distance_scores(
        self,
        query: npt.NDArray[np.float32],
        vectors: npt.NDArray[np.float32],
        keys: int,
        position: int,
        scale: float,
    ) -> npt.NDArray[np.float32]:
        """Scores [keys]; vectors [2 * most + 1, dim], the middle one of distance 0."""

    def distance_values(
        self, weights: npt.NDArray[np.float32], vectors: npt.NDArray[np.float32], position: int
    ) -> npt.NDArray[np.float32]:
        """The weighted sum [dim] of the vectors of distances; weights [keys]."""

    def rotate(
        self,
        x: npt.NDArray[np.float32],
        cosines: npt.NDArray[np.float32],
        sines: npt.NDArray[np.float32],
    ) -> npt.NDArray[np.float32]:
        """Heads [heads, dim], the first numbers of each turned against the next; [half] angles."""

    def recur(
        self,
        input: npt.NDArray[np.float32],
        forget: npt.NDArray[np.float32],
        previous: npt.NDArray[np.float32] | None = None,
    ) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.float32]]:
        """State and output of a step of the simpler simple recurrent unit."""

    def running_mean(
        self, x: npt.NDArray[np.float32], previous: npt.NDArray[np.float32] | None, steps: int
    ) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.float32]]:
        """The total so far and its mean."""

    def mix(
        self,
        gate: npt.NDArray[np.float32],
        y: npt.NDArray[np.float32],
        other_gate: npt.NDArray[np.float32],
        other: npt.NDArray[np.float32],
    ) -> npt.NDArray[np.float32]:
        """sigmoid(gate) * y + sigmoid(other_gate) * other."""

class Kernels(LayerKernels):
    """All kernels of one instruction set."""

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

    def peak_gops(self, compute_type: str, rounds: int = 100000) -> float:
        """Multiplications and additions per second that one core can do, in 10^9.

        The best of 15 tries; a round is 48 products of 16 outputs.
        """

    def read_gbps(self, size_bytes: int) -> float:
        """10^9 bytes per second that one core reads, again and again, of `size_bytes` bytes."""
