"""Sentences on their way through the engine by CTranslate2's rules."""

from __future__ import annotations

import dataclasses
import random
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from pytransformer import _native
from pytransformer.ctranslate2.arguments import EndToken, TranslationOptions
from pytransformer.ctranslate2.loaded_model import LoadedModel
from pytransformer.decoding import Decoding
from pytransformer.pending import Pending

# Set by set_random_seed; None: different draws each time.
_seeds: random.Random | None = None


def set_random_seed(seed: int) -> None:
    """Makes what is drawn from now on the same each time that this is called with the same seed."""
    global _seeds
    if not isinstance(seed, int) or seed < 0:
        raise TypeError(f"seed is {seed!r}, expected an integer of 0 or more")
    _seeds = random.Random(seed)


@dataclass(frozen=True)
class Sentence:
    """A sentence to be translated.

    Attributes:
        source: its tokens as they were given.
        prefix: the tokens that its translation begins with.
        source_ids: what the encoder reads.
        prefix_ids: ids of the prefix.
        start_id: what the decoder reads first.
        done: its translation where nothing has to be computed for it: ids, or None.
    """

    source: list[str]
    prefix: list[str]
    source_ids: list[int]
    prefix_ids: list[int]
    start_id: int
    done: list[int] | None = None


def prepare(
    model: LoadedModel, source: list[str], prefix: list[str], options: TranslationOptions
) -> Sentence:
    """A sentence with its ids; ValueError if it lacks the start token that it must have."""
    start_id = model.start_id
    ids = model.target_ids(prefix)
    if start_id is None:
        if not ids:
            raise ValueError("One input has no decoder start token")
        start_id, ids = ids[0], ids[1:]
    longest = options.max_decoding_length
    done = None
    # A sentence without content is not translated, and a long prefix leaves nothing to translate.
    if not model.has_content(source) or (options.prefix_bias_beta <= 0 and len(ids) >= longest):
        done = ids[:longest]
    source_ids = model.source_ids(source, options.max_input_length)
    return Sentence(source, prefix, source_ids, ids, start_id, done)


class Searches:
    """Starts searches with one set of options."""

    def __init__(self, model: LoadedModel, options: TranslationOptions, *, stream: bool) -> None:
        """`stream` says that each token, the end token too, is told of while others are searched.

        Then each search gives one hypothesis, and several samples are as many searches.
        """
        self._model = model
        self._options = options
        self._stream = stream
        if stream:
            options = dataclasses.replace(
                options, num_hypotheses=1, return_end_token=True, return_scores=True
            )
        self.decoding = _resolve(model, options)

    def submit(self, sentences: Sequence[Sentence]) -> Pending:
        """Queues sentences together that have something to translate, and the same start token."""
        return self._model.sentences.submit(
            [sentence.source_ids for sentence in sentences],
            self._decoding_of(max(sentences, key=lambda sentence: len(sentence.prefix_ids))),
            nothing=[],
            targets=[sentence.prefix_ids for sentence in sentences],
        )

    def groups(self, sentences: Sequence[Sentence]) -> list[list[int]]:
        """Which sentences, by their numbers, can be queued together."""
        open_ones = [i for i, sentence in enumerate(sentences) if sentence.done is None]
        together = (
            len({sentence.start_id for sentence in sentences}) == 1
            and not self._maps
            and not self._options.return_alternatives
            and not (self._options.samples and _seeds is not None)
        )
        if together and open_ones:
            return [open_ones]
        return [[i] for i in open_ones]

    @property
    def _maps(self) -> bool:
        return self._options.use_vmap and self._model.vocabulary_map is not None

    def _decoding_of(self, sentence: Sentence) -> Decoding:
        """The decoding with what belongs to one sentence, or to all that are queued with it."""
        decoding = self.decoding._replace(search=_native.SearchOptions(self.decoding.search))
        search = decoding.search
        search.stream = self._stream
        search.decoder_start_token_id = sentence.start_id
        if self._options.return_alternatives:
            # The token that alternatives differ in does not end them.
            least = len(sentence.prefix_ids) + 1
            search.min_decoding_length = max(search.min_decoding_length, least)
        if self._maps:
            assert self._model.vocabulary_map is not None
            allowed = self._model.vocabulary_map.candidates(sentence.source, sentence.prefix_ids)
            allowed = sorted({*allowed, *search.end_token_ids})
            decoding = decoding._replace(allowed=allowed)
        if self._options.samples and _seeds is not None:
            seed = _seeds.getrandbits(64)
            chosen = dataclasses.replace(decoding.options, seed=seed)
            decoding = decoding._replace(options=chosen)
        return decoding


def _resolve(model: LoadedModel, options: TranslationOptions) -> Decoding:
    """Our options for CTranslate2's; raises OptionError, a ValueError, for what we cannot do."""
    ours: dict[str, Any] = {
        name: getattr(options, name)
        for name in (
            "beam_size", "patience", "num_hypotheses", "length_penalty", "coverage_penalty",
            "repetition_penalty", "no_repeat_ngram_size", "disable_unk", "prefix_bias_beta",
            "max_batch_size", "batch_type", "return_alternatives", "return_end_token",
        )
    }  # fmt: skip
    reach = model.sentences.limits.max_decoding_length
    longest = options.max_decoding_length
    ours["max_decoding_length"] = longest if reach is None else min(longest, reach)
    ours["min_decoding_length"] = min(options.min_decoding_length, ours["max_decoding_length"])
    if options.return_alternatives:
        prob = options.min_alternative_expansion_prob
        ours["min_alternative_expansion_prob"] = prob
        ours["renormalize_logits"] = True
        # Without a penalty CTranslate2 goes on until the best one ends.
        plain = options.length_penalty == 0 and options.coverage_penalty == 0
        ours["early_stopping"] = "never" if plain else True
    else:
        ours["beam_rule"] = "ctranslate2"
    ours["suppress_sequences"] = _suppressed(model, options)
    if options.end_token:
        ours["end_token"] = _ends(model, options.end_token)
    if options.samples:
        ours["sampling_topk"] = _topk(model, options.sampling_topk)
        ours["sampling_topp"] = options.sampling_topp
        ours["sampling_temperature"] = options.sampling_temperature
    conventions = model.conventions
    shows = options.return_attention or options.replace_unknowns
    if shows or options.coverage_penalty:
        ours["return_attention"] = shows
        ours["attention_layer"] = conventions.alignment_layer
        heads = min(conventions.alignment_heads, model.sentences.limits.num_heads)
        ours["attention_heads"] = tuple(range(heads))
    # By scores hypotheses are sorted, and log-probabilities count the steps.
    ours["return_scores"] = (
        options.return_scores
        or options.return_logits_vocab
        or options.return_alternatives
        or max(options.num_hypotheses, options.beam_size) > 1
    )
    return model.sentences.resolve(ours)


def _suppressed(model: LoadedModel, options: TranslationOptions) -> tuple[tuple[int, ...], ...]:
    return tuple(
        tuple(model.known_target_id(token) for token in sequence)
        for sequence in options.suppress_sequences or ()
        if sequence
    )


def _ends(model: LoadedModel, end_token: EndToken) -> tuple[int, ...]:
    given = [end_token] if isinstance(end_token, str) else end_token
    return tuple(
        model.known_target_id(token) if isinstance(token, str) else token for token in given
    )


def _topk(model: LoadedModel, wanted: int) -> int:
    size = model.sentences.limits.vocab_size
    if wanted > size:
        raise ValueError(
            f"sampling_topk option ({wanted}) is greater than the vocabulary size ({size})"
        )
    return wanted
