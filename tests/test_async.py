"""Results that are not there yet: awaited, asked for, cancelled, and left behind."""

from __future__ import annotations

import asyncio
import concurrent.futures
import gc
import os
import subprocess
import sys
import textwrap
import threading
import weakref
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from bundled import GERMAN, bundled_model
from pytransformer import AsyncResult, InputLengthError, OptionError, TranslationResult, Translator

# A worker that finished these would need thousands of steps.
LONG = ["Ein Hund läuft durch den Schnee."] * 500
ENDLESS: dict[str, Any] = {"tgt_lang": "en", "beam_size": 1, "min_decoding_length": 400}

PREPARED = """
import asyncio, os, threading
from pytransformer import Translator

TEXTS = {texts!r}
LONG = {long!r}
ENDLESS = {endless!r}
translator = Translator({model!r})
expected = translator.translate(TEXTS, tgt_lang="en")

async def gather(translator):
    return await asyncio.gather(*[translator.translate_async(t, tgt_lang="en") for t in TEXTS])

print(asyncio.run(gather(translator)) == expected)
"""


@pytest.fixture(scope="module")
def translator() -> Translator:
    return Translator(bundled_model())


@pytest.fixture(scope="module")
def expected(translator: Translator) -> list[str]:
    return translator.translate(GERMAN, tgt_lang="en")


async def wait_for(pending: AsyncResult[Any]) -> Any:
    return await pending


async def gather(translator: Translator, **options: Any) -> list[str]:
    pending = [translator.translate_async(text, tgt_lang="en", **options) for text in GERMAN]
    return await asyncio.gather(*pending)


class TestAwait:
    def test_one(self, translator: Translator, expected: list[str]) -> None:
        single = translator.translate_async(GERMAN[0], tgt_lang="en")
        several = translator.translate_async(iter(GERMAN), tgt_lang="en")
        assert asyncio.run(wait_for(single)) == expected[0]
        assert asyncio.run(wait_for(several)) == expected
        # Again, in another loop, and without one.
        assert asyncio.run(wait_for(single)) == single.result() == expected[0]

    @pytest.mark.parametrize("beam_size", [1, 4])
    @pytest.mark.parametrize("workers", [1, 2])
    def test_many(self, beam_size: int, workers: int) -> None:
        translator = Translator(bundled_model(), inter_threads=workers, intra_threads=1)
        found = asyncio.run(gather(translator, beam_size=beam_size))
        assert found == translator.translate(GERMAN, tgt_lang="en", beam_size=beam_size)

    def test_nothing_to_do(self, translator: Translator) -> None:
        pending = translator.translate_async(["", " \r"], tgt_lang="en")
        assert pending.done()
        assert asyncio.run(wait_for(pending)) == pending.result() == ["", "\r"]
        assert translator.translate_async([], tgt_lang="en").result() == []

    def test_same_result_by_several_tasks(
        self, translator: Translator, expected: list[str]
    ) -> None:
        async def together() -> list[list[str]]:
            pending = translator.translate_async(GERMAN, tgt_lang="en")
            return await asyncio.gather(*[wait_for(pending) for _ in range(5)])

        assert asyncio.run(together()) == [expected] * 5

    def test_other_tasks_go_on(self, translator: Translator) -> None:
        async def count() -> int:
            turns = 0
            pending = asyncio.ensure_future(
                wait_for(translator.translate_async(GERMAN * 20, tgt_lang="en"))
            )
            while not pending.done():
                turns += 1
                await asyncio.sleep(0)
            return turns

        assert asyncio.run(count()) > 10

    def test_loops_in_several_threads(self, translator: Translator, expected: list[str]) -> None:
        with ThreadPoolExecutor(6) as pool:
            found = list(pool.map(lambda _: asyncio.run(gather(translator)), range(12)))
        assert found == [expected] * 12

    def test_threads_that_ask_for_one_result(
        self, translator: Translator, expected: list[str]
    ) -> None:
        pending = translator.translate_async(GERMAN, tgt_lang="en")
        with ThreadPoolExecutor(6) as pool:
            assert list(pool.map(lambda _: pending.result(), range(6))) == [expected] * 6


class TestBatch:
    @pytest.mark.parametrize("prefixes", [None, [["▁The"], None] * 8])
    def test_equals_translate_batch(self, translator: Translator, prefixes: Any) -> None:
        tokens = [translator.tokenizer.encode(text, tgt_lang="en") for text in GERMAN]
        options: Any = {"beam_size": 2, "return_scores": True}
        pending = translator.translate_batch(tokens, prefixes, asynchronous=True, **options)
        expected = translator.translate_batch(tokens, prefixes, **options)
        assert [one.result() for one in pending] == expected
        assert all(one.done() for one in pending)
        assert [asyncio.run(wait_for(one)) for one in pending] == expected

    def test_empty_sentence(self, translator: Translator) -> None:
        first, second = translator.translate_batch([[], ["▁der"]], asynchronous=True)
        assert isinstance(second.result(), TranslationResult)
        assert first.result().hypotheses == [[]]
        assert translator.translate_batch([], asynchronous=True) == []

    def test_errors_before_anything_is_begun(self, translator: Translator) -> None:
        with pytest.raises(InputLengthError, match="input 1 has 601 tokens"):
            translator.translate_batch([["▁der"], ["▁der"] * 600], asynchronous=True)
        with pytest.raises(OptionError, match="target_prefix 1 has 600 tokens"):
            translator.translate_batch([["▁der"]] * 2, [None, ["▁A"] * 600], asynchronous=True)


class TestErrors:
    def test_wrong_arguments_at_once(self, translator: Translator) -> None:
        with pytest.raises(TypeError, match="text is NoneType"):
            translator.translate_async(None)  # type: ignore[call-overload]
        with pytest.raises(OptionError, match="no option beam_sise"):
            translator.translate_async("Hund", beam_sise=1)
        with pytest.raises(InputLengthError, match="input 1 has"):
            translator.translate_async(["Hund", "Hund " * 700])

    def test_what_goes_wrong_arrives_where_it_is_awaited(self, translator: Translator) -> None:
        pending = translator.translate_async(
            "Hund", tgt_lang="en", allowed_tokens=["▁the"], glossary={"Hund": "cat"}
        )
        for _ in range(2):
            with pytest.raises(ValueError, match="no translation keeps all"):
                asyncio.run(wait_for(pending))
            with pytest.raises(ValueError, match="no translation keeps all"):
                pending.result()
        assert pending.done()


class TestCancel:
    def check_free(self, translator: Translator) -> None:
        assert translator.translate("Hund", tgt_lang="en", beam_size=1)
        assert translator._engine.read_profile()["steps"] < 1500

    def test_by_itself(self, translator: Translator) -> None:
        translator._engine.start_profile()
        pending = translator.translate_async(LONG, **ENDLESS)
        assert not pending.done()
        pending.cancel()
        assert pending.done()
        for _ in range(2):
            with pytest.raises(concurrent.futures.CancelledError):
                pending.result()
        with pytest.raises(concurrent.futures.CancelledError):
            asyncio.run(wait_for(pending))
        self.check_free(translator)

    def test_while_it_is_awaited(self, translator: Translator) -> None:
        async def cancel() -> None:
            pending = translator.translate_async(LONG, **ENDLESS)
            task = asyncio.ensure_future(wait_for(pending))
            await asyncio.sleep(0.01)
            pending.cancel()
            with pytest.raises(concurrent.futures.CancelledError):
                await task

        translator._engine.start_profile()
        asyncio.run(cancel())
        self.check_free(translator)

    def test_of_the_task_ends_the_search(self, translator: Translator) -> None:
        async def cancel() -> AsyncResult[Any]:
            pending = translator.translate_async(LONG, **ENDLESS)
            task = asyncio.ensure_future(wait_for(pending))
            await asyncio.sleep(0.01)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
            return pending

        translator._engine.start_profile()
        with pytest.raises(concurrent.futures.CancelledError):
            asyncio.run(cancel()).result()
        self.check_free(translator)

    def test_by_a_limit_of_time(self, translator: Translator) -> None:
        async def wait_a_moment() -> None:
            await asyncio.wait_for(wait_for(translator.translate_async(LONG, **ENDLESS)), 0.01)

        translator._engine.start_profile()
        with pytest.raises(asyncio.TimeoutError):
            asyncio.run(wait_a_moment())
        self.check_free(translator)

    def test_by_leaving_it_behind(self, translator: Translator) -> None:
        """As Ctrl-C does that comes before anybody waits."""
        translator._engine.start_profile()
        pending = translator.translate_async(LONG, **ENDLESS)
        assert not pending.done()
        del pending
        self.check_free(translator)

    def test_what_is_done_stays(self, translator: Translator, expected: list[str]) -> None:
        pending = translator.translate_async(GERMAN, tgt_lang="en")
        while not pending.done():
            pass
        pending.cancel()
        assert pending.result() == expected

    def test_of_some_leaves_the_others(self, translator: Translator, expected: list[str]) -> None:
        pending = [translator.translate_async(text, tgt_lang="en") for text in GERMAN]
        doomed = translator.translate_async(LONG, **ENDLESS)
        doomed.cancel()
        assert [one.result() for one in pending] == expected


class TestLifetimes:
    def test_results_outlive_the_translator(self, expected: list[str]) -> None:
        translator = Translator(bundled_model())
        engine = weakref.ref(translator)
        pending = translator.translate_async(GERMAN, tgt_lang="en")
        single = [translator.translate_async(text, tgt_lang="en") for text in GERMAN]
        del translator
        gc.collect()
        assert engine() is None
        assert asyncio.run(wait_for(pending)) == expected
        assert [asyncio.run(wait_for(one)) for one in single] == expected

    def test_results_that_nobody_wants(self) -> None:
        for _ in range(5):
            translator = Translator(bundled_model())
            for _ in range(5):
                translator.translate_async(LONG, **ENDLESS)
            del translator
            gc.collect()

    def test_threads_end_with_their_translator(self, expected: list[str]) -> None:
        before = {thread for thread in threading.enumerate() if thread.name == "pytransformer"}
        translator = Translator(bundled_model())
        found = asyncio.run(wait_for(translator.translate_async(GERMAN * 20, tgt_lang="en")))
        assert found == expected * 20
        mine = [
            thread
            for thread in threading.enumerate()
            if thread.name == "pytransformer" and thread not in before
        ]
        assert len(mine) == 1
        del translator, found
        gc.collect()
        mine[0].join()

    def test_loop_that_is_closed_early(self, translator: Translator, expected: list[str]) -> None:
        loop = asyncio.new_event_loop()
        pending = translator.translate_async(GERMAN * 20, tgt_lang="en")
        task = loop.create_task(wait_for(pending))
        loop.run_until_complete(asyncio.sleep(0))
        loop.close()
        assert pending.result() == expected * 20
        del task
        assert asyncio.run(gather(translator)) == expected


def run_script(body: str, folder: Path) -> None:
    """Runs a process that prints True, and nothing else; the limit only ends one that hangs."""
    script = folder / "script.py"
    prepared = PREPARED.format(texts=GERMAN, long=LONG, endless=ENDLESS, model=str(bundled_model()))
    script.write_text(prepared + textwrap.dedent(body), encoding="utf-8")
    done = subprocess.run(
        [sys.executable, str(script)],
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert set(done.stdout.split()) == {"True"}, done.stderr
    assert "terminate" not in done.stderr


class TestProcesses:
    def test_exit_while_tasks_wait(self, tmp_path: Path) -> None:
        body = """
        async def leave():
            tasks = [asyncio.ensure_future(wait()) for _ in range(5)]
            await asyncio.sleep(0.05)

        async def wait():
            await translator.translate_async(LONG, **ENDLESS)

        asyncio.run(leave())
        """
        run_script(body, tmp_path)

    def test_exit_with_a_loop_that_never_ends(self, tmp_path: Path) -> None:
        body = """
        async def wait():
            await translator.translate_async(LONG, **ENDLESS)

        async def read():
            async for piece in translator.translate_stream_async("\\n".join(LONG), **ENDLESS):
                pass

        loop = asyncio.new_event_loop()
        tasks = [loop.create_task(wait()), loop.create_task(read())]
        loop.run_until_complete(asyncio.sleep(0.05))
        left = translator.translate_async(LONG, **ENDLESS)
        """
        run_script(body, tmp_path)

    def test_exit_beside_streams(self, tmp_path: Path) -> None:
        body = """
        stream = translator.translate_stream("\\n".join(LONG[:20]), **ENDLESS)
        print(bool(next(stream)))
        steps = translator.generate_tokens(["▁der"], beam_size=1, min_decoding_length=400)
        print(next(steps).step == 0)
        """
        run_script(body, tmp_path)

    @pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork")
    def test_fork_after_use(self, tmp_path: Path) -> None:
        body = """
        # Few enough that others join the batch.
        begun = translator.translate_async(LONG[:20], **ENDLESS)
        done = translator.translate_async(TEXTS[0], tgt_lang="en")
        print(done.result() == expected[0])
        for _ in range(3):
            child = os.fork()
            if child == 0:
                same = asyncio.run(gather(translator)) == expected
                pieces = translator.translate_stream(TEXTS[0], tgt_lang="en")
                same = same and "".join(pieces) == done.result() == expected[0]
                for wait in (begun.result, lambda: asyncio.run(begun._wait())):
                    try:
                        wait()
                        same = False
                    except RuntimeError as error:
                        same = same and "before a fork" in str(error)
                os._exit(0 if same else 1)
            print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0)
        begun.cancel()
        print(asyncio.run(gather(translator)) == expected)
        """
        run_script(body, tmp_path)

    @pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork")
    def test_fork_among_tasks(self, tmp_path: Path) -> None:
        body = """
        stop = threading.Event()
        def go_on():
            while not stop.is_set():
                asyncio.run(gather(translator))
        others = [threading.Thread(target=go_on, daemon=True) for _ in range(3)]
        for other in others:
            other.start()
        for _ in range(5):
            child = os.fork()
            if child == 0:
                os._exit(0 if asyncio.run(gather(translator)) == expected else 1)
            print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0)
        stop.set()
        for other in others:
            other.join()
        """
        run_script(body, tmp_path)
