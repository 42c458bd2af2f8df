"""From sentences to the engine and back: what all doors of a translator share."""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING

from pytransformer import _native
from pytransformer.decoding import Decoding, resolve
from pytransformer.errors import OptionError
from pytransformer.inputs import InputLengthError, cut
from pytransformer.model_files import OpenModel
from pytransformer.pending import Hypothesis, Pending
from pytransformer.results import TranslationResult

if TYPE_CHECKING:
    from pytransformer.shortlist import LexicalShortlist


class SentenceTranslator:
    """A model, the engine that runs it, and its shortlist if it has one."""

    def __init__(
        self, model: OpenModel, engine: _native.Engine, shortlist: LexicalShortlist | None
    ) -> None:
        self.model = model
        self.engine = engine
        self._shortlist = shortlist
        self.limits = model.limits(has_shortlist=shortlist is not None)
        self._random = random.SystemRandom()

    def resolve(self, arguments: Mapping[str, object]) -> Decoding:
        """Checks options by name; see :func:`pytransformer.decoding.resolve`."""
        decoding = resolve(arguments, self.limits)
        if decoding.options.use_vmap and self._shortlist is None:
            raise OptionError(
                "use_vmap: this translator has no shortlist; open it with Translator(shortlist=...)"
            )
        return decoding

    def submit(
        self,
        sources: Sequence[list[int]],
        decoding: Decoding,
        *,
        nothing: Sequence[int],
        owners: Sequence[int] | None = None,
        targets: Sequence[Sequence[int]] | None = None,
        phrases: Sequence[Sequence[Sequence[int]]] | None = None,
    ) -> Pending:
        """Queues sentences.

        Args:
            sources: ids with the end token.
            decoding: checked options.
            nothing: the ids of a sentence without content, whose translation is empty.
            owners: of which input each sentence is a part, for messages.
            targets: a prefix of each translation, or what is to be scored.
            phrases: what each translation must hold besides the options' force_phrases.
        """
        sources = self._cut(sources, decoding)
        self._check_lengths(sources, owners)
        allowed = _native.TokenList(decoding.allowed) if decoding.allowed else None
        requests = []
        has_content = [list(ids) != list(nothing) for ids in sources]
        for index, ids in enumerate(sources):
            if not has_content[index]:
                continue
            target = targets[index] if targets is not None else ()
            forced = [*decoding.force_phrases, *(phrases[index] if phrases is not None else ())]
            if decoding.options.use_vmap:
                allowed = self._allowed(ids, forced, decoding)
            requests.append(_native.Request(ids, target, forced, allowed, self._seed(decoding)))
        job = self._submit(requests, decoding) if requests else None
        return Pending(job, has_content, decoding.options.num_hypotheses)

    def _submit(self, requests: Sequence[_native.Request], decoding: Decoding) -> _native.Job:
        try:
            return self.engine.submit(requests, decoding.search)
        except ValueError as error:
            raise OptionError(str(error)) from None

    def result(
        self, hypotheses: Sequence[Hypothesis], decoding: Decoding, source: Callable[[], list[str]]
    ) -> TranslationResult:
        """The hypotheses of one sentence as tokens; `source` gives the source's."""
        options = decoding.options
        tokens = [self.tokens(found, decoding, source) for found in hypotheses]
        scored = options.return_scores
        return TranslationResult(
            hypotheses=tokens,
            scores=[found.score for found in hypotheses] if scored else [],
            attention=(
                [found.attention for found in hypotheses if found.attention is not None]
                if options.return_attention
                else []
            ),
            logits=[found.logits for found in hypotheses if found.logits is not None],
            ids=[found.ids for found in hypotheses],
            log_probs=[found.log_probs for found in hypotheses] if scored else [],
            finish_reasons=[found.reason for found in hypotheses],
        )

    def tokens(
        self, found: Hypothesis, decoding: Decoding, source: Callable[[], list[str]]
    ) -> list[str]:
        """The tokens of a hypothesis, unknown ones replaced if that was asked for."""
        tokens = self.model.tokenizer.target_tokens(found.ids)
        unknown = self.limits.unknown_id()
        if not decoding.options.replace_unknowns or unknown not in found.ids:
            return tokens
        names = source()
        return [
            names[int(found.attention[i].argmax())] if token_id == unknown else tokens[i]
            for i, token_id in enumerate(found.ids)
        ]

    def _cut(self, sources: Sequence[list[int]], decoding: Decoding) -> Sequence[list[int]]:
        length = decoding.options.max_input_length
        if not length:
            return sources
        end = self.model.tokenizer.source_ids([])
        return [cut(ids, length, end) for ids in sources]

    def _check_lengths(self, sources: Sequence[list[int]], owners: Sequence[int] | None) -> None:
        limit = self.limits.max_source_length
        if limit is None:
            return
        for index, ids in enumerate(sources):
            if len(ids) > limit:
                owner = index if owners is None else owners[index]
                raise InputLengthError(owner, len(ids), limit)

    def _seed(self, decoding: Decoding) -> int:
        if not decoding.draws:
            return 0
        seed = decoding.options.seed
        return self._random.getrandbits(64) if seed < 0 else seed

    def _allowed(
        self, ids: Sequence[int], phrases: Sequence[Sequence[int]], decoding: Decoding
    ) -> _native.TokenList:
        """The tokens that the shortlist names for a source, and those that must be possible."""
        assert self._shortlist is not None
        shared = self.model.spec.shared_embedding
        allowed = set(self._shortlist.tokens(ids, shared_vocabulary=shared))
        if decoding.allowed:
            allowed &= set(decoding.allowed)
        allowed.update(decoding.search.end_token_ids, *phrases)
        return _native.TokenList(sorted(allowed))
