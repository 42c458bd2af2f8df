"""From sentences to the engine and back: what all doors of a translator share."""

from __future__ import annotations

import contextlib
import functools
import random
from collections.abc import Callable, Collection, Sequence
from typing import TYPE_CHECKING

from pytransformer import _native
from pytransformer.decoding import Decoding, Resolver
from pytransformer.errors import OptionError
from pytransformer.inputs import InputLengthError, PromptLengthError, cut
from pytransformer.model_files import OpenModel
from pytransformer.model_spec import NO_TOKEN
from pytransformer.pending import Hypothesis, Pending
from pytransformer.results import TranslationResult

if TYPE_CHECKING:
    from pytransformer.attention import AttentionMaps
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
        self.resolve = Resolver(self.limits)
        self._random = random.SystemRandom()
        self._nothing: dict[tuple[str | None, str | None], list[int]] = {}
        self._language_options: dict[str | None, dict[str, int]] = {}

    def submit(
        self,
        sources: Sequence[list[int]],
        decoding: Decoding,
        *,
        nothing: list[int],
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
            phrases: words that each translation must hold besides the options' force_phrases.
        """
        owners = range(len(sources)) if owners is None else owners
        sources = [
            self.fitted(ids, owner, decoding) for ids, owner in zip(sources, owners, strict=True)
        ]
        if targets:
            self._check_targets(targets, owners, decoding)
        allowed = _native.TokenList(decoding.allowed) if decoding.allowed else None
        draws = decoding.draws
        requests, has_content = [], []
        for index, ids in enumerate(sources):
            has_content.append(ids != nothing)
            if ids == nothing:
                continue
            target = targets[index] if targets is not None else ()
            words = [*decoding.force_words, *(phrases[index] if phrases is not None else ())]
            if decoding.options.use_vmap:
                allowed = self._allowed(ids, [*decoding.force_phrases, *words], decoding)
            requests.append(
                _native.Request(
                    ids,
                    target,
                    decoding.force_phrases,
                    allowed,
                    self._seed(decoding) if draws else 0,
                    words,
                    self._continuations if words else None,
                )
            )
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
        if not decoding.options.replace_unknowns:
            return tokens
        unknown = self.limits.unknown_id()
        if unknown not in found.ids:
            return tokens
        names = source()
        tokenizer = self.model.tokenizer
        read = found.attention.shape[1]
        if len(names) > read:  # the model has read the first ones, and what closes a source
            read -= len(tokenizer.closing([]))
        read = min(read, len(names))
        # Special tokens are no names for anything.
        words = tokenizer.words(names[:read])
        places = [i for word in words for i in range(*word.pieces.indices(read))] or [0]
        attention = found.attention[:, places].argmax(axis=1)
        return [
            names[places[int(attention[i])]] if token_id == unknown else tokens[i]
            for i, token_id in enumerate(found.ids)
        ]

    def into_language(
        self, decoding: Decoding, tgt_lang: str | None, given: Collection[str] = ()
    ) -> Decoding:
        """The decoding with the tokens that stand for a target language.

        An option that the caller has `given` holds. Raises OptionError for an unknown language.
        """
        for name, token_id in self.language_options(tgt_lang).items():
            if name not in given:
                setattr(decoding.search, name, token_id)
        return decoding

    def language_options(self, tgt_lang: str | None) -> dict[str, int]:
        """The options, by name, that have translations come in a language."""
        _check_language("tgt_lang", tgt_lang)
        found = self._language_options.get(tgt_lang)
        if found is None:
            tokenizer = self.model.tokenizer
            tokens = {
                "forced_bos_token_id": tokenizer.forced_bos_id(tgt_lang),
                "decoder_start_token_id": tokenizer.decoder_start_id(tgt_lang),
            }
            found = {name: token_id for name, token_id in tokens.items() if token_id is not None}
            self._language_options[tgt_lang] = found
        return found

    def target_ids(self, text: str, decoding: Decoding) -> list[int]:
        """The ids of a text in the target language, with the token that comes first in it."""
        tokenizer = self.model.tokenizer
        ids = tokenizer.target_ids(tokenizer.encode_target(text))
        first = decoding.search.forced_bos_token_id
        return ids if first < 0 else [first, *ids]

    def attention(self, source: list[int], target: str | None, decoding: Decoding) -> AttentionMaps:
        """Attention while the model reads a source and a translation, by default its own."""
        from pytransformer.attention import AttentionMaps

        ends = decoding.search.end_token_ids
        tokenizer = self.model.tokenizer
        if target is None:
            best = self.submit([source], decoding, nothing=[]).hypotheses()[0][0]
            ids = [token_id for token_id in best.ids if token_id not in ends]
            ids += ends[:1] if best.reason == "end" else []
        else:
            ids = [*self.target_ids(target, decoding), ends[0]]
        start = decoding.search.decoder_start_token_id
        maps = self.engine.attention(source, [start, *ids[:-1]])
        source_tokens, target_tokens = tokenizer.source_tokens(source), tokenizer.target_tokens(ids)
        return AttentionMaps(
            source_tokens,
            target_tokens,
            *maps,
            start_token="" if start == NO_TOKEN else tokenizer.target_tokens([start])[0],
            source_words=tokenizer.words(source_tokens),
            target_words=tokenizer.words(target_tokens),
        )

    def check(
        self,
        sources: Sequence[list[int]],
        targets: Sequence[Sequence[int]],
        decoding: Decoding,
        first: int = 0,
    ) -> None:
        """Raises OptionError for sentences that are too long; `first` is the first one's number."""
        owners = range(first, first + len(sources))
        for ids, owner in zip(sources, owners, strict=True):
            self.fitted(ids, owner, decoding)
        self._check_targets(targets, owners, decoding)

    def _check_targets(
        self, targets: Sequence[Sequence[int]], owners: Sequence[int], decoding: Decoding
    ) -> None:
        scored = decoding.search.score_targets
        limit = self.limits.max_decoding_length if scored else decoding.search.max_decoding_length
        if limit is None:
            return
        for ids, owner in zip(targets, owners, strict=False):
            # The end token is never read, but the start token is.
            if scored and len(ids) > limit + 1:
                raise OptionError(
                    f"target {owner} has {len(ids)} tokens with its end token, but the model's "
                    f"positions reach only {limit + 1}"
                )
            if not scored and ids and len(ids) >= limit:
                raise OptionError(
                    f"target_prefix {owner} has {len(ids)} tokens, but max_decoding_length is "
                    f"{limit}, and it must be longer"
                )

    def fitted(self, ids: list[int], owner: int, decoding: Decoding) -> list[int]:
        """A source as the model takes it: cut where that was asked for.

        Raises InputLengthError that names `owner` if it is longer than the model's positions.
        """
        length = decoding.options.max_input_length
        if length:
            ids = cut(ids, length, self.model.tokenizer.closing(ids))
        limit = self.limits.max_source_length
        if limit is not None and len(ids) > limit:
            error = InputLengthError if self.limits.has_encoder else PromptLengthError
            raise error(owner, len(ids), limit)
        return ids

    def nothing(self, src_lang: str | None, tgt_lang: str | None) -> list[int]:
        """The ids of a text without content; raises OptionError for an unknown language."""
        _check_language("src_lang", src_lang)
        _check_language("tgt_lang", tgt_lang)
        found = self._nothing.get((src_lang, tgt_lang))
        if found is None:
            found = self.model.tokenizer.encode_ids("", src_lang=src_lang, tgt_lang=tgt_lang)
            self._nothing[src_lang, tgt_lang] = found
        return found

    def forced_start(self, prefix: Sequence[int], decoding: Decoding) -> list[int]:
        """The tokens that a translation must begin with."""
        if prefix and decoding.options.prefix_bias_beta == 0:
            return list(prefix)
        forced = decoding.search.forced_bos_token_id
        return [forced] if forced >= 0 else []

    @functools.cached_property
    def _continuations(self) -> _native.TokenList:
        """The target tokens that go on with the word before them."""
        tokenizer = self.model.tokenizer
        tokens = tokenizer.target_tokens
        ids = []
        for token_id in range(self.limits.vocab_size):
            # An embedding may have more rows than there are tokens.
            with contextlib.suppress(OptionError):
                if tokenizer.continues_word(tokens([token_id])[0]):
                    ids.append(token_id)
        return _native.TokenList(ids)

    def _seed(self, decoding: Decoding) -> int:
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


def _check_language(name: str, language: object) -> None:
    if language is not None and not isinstance(language, str):
        raise TypeError(f"{name} is {type(language).__name__}, expected a string")
