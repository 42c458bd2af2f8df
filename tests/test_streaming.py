"""Translations piece by piece: together they are the translation, and nothing is taken back."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bundled import GERMAN, bundled_model
from checkpoints import MarianCheckpoint
from pytransformer import InputLengthError, OptionError, Translator
from pytransformer.streaming import LineStream
from pytransformer.tokenizers.clean_up import clean_up

TEXTS = [
    *GERMAN[:4],
    "",
    " \t",
    "\n",
    "\r\n",
    "\n\n" + GERMAN[0] + "\n\n\n" + GERMAN[1] + "\r\n\r\n" + GERMAN[2] + "\n",
    "\n".join(GERMAN),
    "汉字汉字汉字" * 12,
    "Ein 🙂 Hund 🙂🙂 läuft.",
    "Wort" * 30,
    "a\u00a0b\u2028c\x85d\x0b",
    "\u3000",
]
OPTIONS: list[dict[str, Any]] = [
    *({"beam_size": size} for size in range(1, 6)),
    {"beam_size": 4, "num_hypotheses": 4, "return_scores": True},
    {"beam_size": 4, "num_beam_groups": 2, "diversity_penalty": 0.5},
    {"beam_size": 2, "patience": 2.0, "length_penalty": 0.0},
    {"beam_size": 3, "early_stopping": True},
    {"beam_size": 3, "early_stopping": "never"},
    {"beam_size": 3, "replace_unknowns": True},
    {"beam_size": 2, "target_prefix": "The"},
    {"beam_size": 2, "target_prefix": "The", "prefix_bias_beta": 0.5},
    {"beam_size": 1, "forced_bos_token_id": 9},
    {"beam_size": 2, "max_decoding_length": 3},
    {"beam_size": 2, "min_decoding_length": 60, "stop_loops": True},
    {"beam_size": 1, "return_end_token": True},
    {"sampling_topk": 5, "seed": 7},
    {"beam_size": 2, "max_batch_size": 1},
    {"beam_size": 2, "glossary": {"Hund": "cat", "Schnee": "sand"}},
    {"beam_size": 2, "glossary": {"Hund": "cat"}, "glossary_mode": "placeholders"},
    {"beam_size": 1, "glossary": {"Hund": "a\ncat"}, "glossary_mode": "placeholders"},
    {"beam_size": 2, "repetition_penalty": 1.3, "no_repeat_ngram_size": 2},
]


@pytest.fixture(scope="module")
def translator() -> Translator:
    return Translator(bundled_model())


async def collect(translator: Translator, text: str, **options: Any) -> list[str]:
    return [piece async for piece in translator.translate_stream_async(text, **options)]


class TestText:
    @pytest.mark.parametrize("options", OPTIONS, ids=str)
    def test_pieces_make_the_translation(
        self, translator: Translator, options: dict[str, Any]
    ) -> None:
        for text in TEXTS:
            expected = translator.translate(text, tgt_lang="en", **options)
            pieces = list(translator.translate_stream(text, tgt_lang="en", **options))
            assert "".join(pieces) == expected
            assert all(pieces)
            assert "".join(asyncio.run(collect(translator, text, tgt_lang="en", **options))) == (
                expected
            )

    def test_other_models(self, marian: MarianCheckpoint) -> None:
        """The small checkpoint's translations are made of anything."""
        translator = Translator(marian.path, inter_threads=2, intra_threads=1)
        for beam_size in (1, 3):
            for text in TEXTS:
                expected = translator.translate(text, beam_size=beam_size, max_input_length=60)
                pieces = translator.translate_stream(text, beam_size=beam_size, max_input_length=60)
                assert "".join(pieces) == expected

    def test_slow_reader_misses_nothing(self, translator: Translator) -> None:
        text = "\n".join(GERMAN)
        expected = translator.translate(text, tgt_lang="en")

        def read() -> str:
            found = ""
            for piece in translator.translate_stream(text, tgt_lang="en"):
                time.sleep(0.005)
                found += piece
            return found

        async def read_async() -> str:
            found = ""
            async for piece in translator.translate_stream_async(text, tgt_lang="en"):
                await asyncio.sleep(0.005)
                found += piece
            return found

        assert read() == asyncio.run(read_async()) == expected

    def test_many_at_once(self, translator: Translator) -> None:
        async def all_of_them() -> list[list[str]]:
            streams = [collect(translator, text, tgt_lang="en") for text in GERMAN * 3]
            return await asyncio.gather(*streams)

        found = ["".join(pieces) for pieces in asyncio.run(all_of_them())]
        assert found == translator.translate(GERMAN * 3, tgt_lang="en")


class TestErrors:
    def test_wrong_arguments_at_once(self, translator: Translator) -> None:
        for door in (translator.translate_stream, translator.translate_stream_async):
            with pytest.raises(TypeError, match="text is list, expected a string"):
                door(["Hund"])  # type: ignore[arg-type]
            with pytest.raises(OptionError, match="beam_size is 0"):
                door("Hund", beam_size=0)
            with pytest.raises(OptionError, match="'xx'"):
                door("Hund", tgt_lang="xx")
            with pytest.raises(ValueError, match="surrogate"):
                door("\ud800")
            with pytest.raises(InputLengthError, match="input 0 has"):
                door("Hund " * 700)
            with pytest.raises(OptionError, match="glossary_mode is 'x'"):
                door("Hund", glossary_mode="x")

    def test_search_that_fails(self, translator: Translator) -> None:
        options: Any = {"tgt_lang": "en", "allowed_tokens": ["▁the"], "glossary": {"Hund": "cat"}}
        with pytest.raises(ValueError, match="no translation keeps all"):
            translator.translate("Hund", **options)
        with pytest.raises(ValueError, match="no translation keeps all"):
            list(translator.translate_stream("Hund", **options))
        with pytest.raises(ValueError, match="no translation keeps all"):
            asyncio.run(collect(translator, "Hund", **options))


class TestClosing:
    """A worker that went on would need thousands of steps."""

    LONG = "\n".join(["Ein Hund läuft durch den Schnee."] * 500)
    OPTIONS: dict[str, Any] = {"tgt_lang": "en", "beam_size": 1, "min_decoding_length": 400}  # noqa: RUF012

    def check_steps(self, translator: Translator, begin: Callable[[], None]) -> None:
        translator._engine.start_profile()
        begin()
        translator.translate("Hund", tgt_lang="en", beam_size=1)
        assert translator._engine.read_profile()["steps"] < 1500

    @pytest.mark.parametrize("taken", [0, 1, 5])
    def test_ends_the_search(self, translator: Translator, taken: int) -> None:
        def begin() -> None:
            pieces = translator.translate_stream(self.LONG, **self.OPTIONS)
            for _ in range(taken):
                next(pieces)
            pieces.close()  # type: ignore[attr-defined]
            assert list(pieces) == []

        self.check_steps(translator, begin)

    def test_stream_that_is_let_go(self, translator: Translator) -> None:
        def begin() -> None:
            translator.translate_stream(self.LONG, **self.OPTIONS)
            next(translator.translate_stream(self.LONG, **self.OPTIONS))
            translator.translate_stream_async(self.LONG, **self.OPTIONS)

        self.check_steps(translator, begin)

    def test_asynchronous(self, translator: Translator) -> None:
        async def leave_early() -> None:
            pieces = translator.translate_stream_async(self.LONG, **self.OPTIONS)
            async for _ in pieces:
                break
            await pieces.aclose()  # type: ignore[attr-defined]

        self.check_steps(translator, lambda: asyncio.run(leave_early()))

    def test_cancelled_task(self, translator: Translator) -> None:
        async def cancel() -> None:
            task = asyncio.ensure_future(collect(translator, self.LONG, **self.OPTIONS))
            await asyncio.sleep(0.05)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task

        self.check_steps(translator, lambda: asyncio.run(cancel()))

    def test_loop_that_is_closed_meanwhile(self, translator: Translator) -> None:
        def leave() -> None:
            loop = asyncio.new_event_loop()
            pieces = translator.translate_stream_async(self.LONG, **self.OPTIONS)
            assert loop.run_until_complete(pieces.__anext__())  # type: ignore[arg-type]
            loop.close()
            del pieces

        leave()
        assert translator.translate("Hund", tgt_lang="en")


def pieces_of(
    decode: Callable[[Sequence[int]], str], ids: Sequence[int], cuts: Sequence[bool]
) -> list[str]:
    """What a line tells of, asked for what is new after the tokens where a cut is."""
    line = LineStream(decode, str, by_words=True, by_tokens=True)
    pieces = []
    for step, (token, cut) in enumerate(zip(ids, cuts, strict=True)):
        line.add(step, token)
        if cut:
            pieces.append(line.take())
    line.add(0, -1)
    return [*pieces, line.take()]


def tokens_and_cuts(tokens: st.SearchStrategy[int]) -> st.SearchStrategy[list[tuple[int, bool]]]:
    return st.lists(st.tuples(tokens, st.booleans()), max_size=40)


# Parts of what tokenizers join: spaces, contractions, and bytes of characters, some of which are
# white space or the underline that stands for a space.
PARTS = [
    *(part.encode() for part in ("a", "n", "t", "s", "ve", "re", "m", "'", " ", ".", "?", "long")),
    *(bytes([byte]) for byte in "é\u00a0\u3000▁🙂\n".encode()),
]


class TestLineStream:
    @settings(deadline=None, max_examples=300)
    @given(data=st.data())
    def test_any_tokens_of_a_model(self, translator: Translator, data: st.DataObject) -> None:
        tokenizer = translator.tokenizer
        size = translator._model.spec.decoder.vocab_size
        pairs = data.draw(tokens_and_cuts(st.integers(0, size - 1)))
        ids = [token for token, _ in pairs]
        pieces = pieces_of(tokenizer.decode, ids, [cut for _, cut in pairs])
        assert "".join(pieces) == tokenizer.decode(ids)

    @settings(deadline=None, max_examples=1000)
    @given(clean=st.booleans(), pairs=tokens_and_cuts(st.integers(0, len(PARTS) - 1)))
    def test_anything_that_tokenizers_join(
        self, clean: bool, pairs: list[tuple[int, bool]]
    ) -> None:
        def decode(ids: Sequence[int]) -> str:
            text = b"".join(PARTS[token] for token in ids).decode("utf-8", "replace")
            text = text.replace("▁", " ").strip().replace("\n", " ")
            return clean_up(text) if clean else text

        ids = [token for token, _ in pairs]
        assert "".join(pieces_of(decode, ids, [cut for _, cut in pairs])) == decode(ids)

    def test_words_are_told_of_when_the_next_one_begins(self, translator: Translator) -> None:
        tokenizer = translator.tokenizer
        ids = tokenizer.target_ids(tokenizer.encode_target("A dog runs through the snow."))
        pieces = pieces_of(tokenizer.decode, ids, [True] * len(ids))
        assert [piece for piece in pieces if piece][:3] == ["A", " dog", " runs"]

    def test_words_without_end(self) -> None:
        pieces = pieces_of(lambda ids: "字" * len(ids), [0] * 100, [True] * 100)
        assert "".join(pieces) == "字" * 100
        assert max(map(len, pieces)) < 40
