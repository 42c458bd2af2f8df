"""transformers' translation pipeline, which transformers 5 no longer has, on this package's engine.

What goes in and what comes out is as in transformers 4: one text gives a list, several give a flat
list unless each has several translations, and anything else that can be iterated gives a list for
each text, made when it is asked for.
"""

from __future__ import annotations

import itertools
import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence, Sized
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol, TypeAlias, overload

from pytransformer.decoding import resolve
from pytransformer.errors import OptionError
from pytransformer.pipeline_arguments import checked, in_callers_names, merged, translator_options
from pytransformer.tokenizers import Tokenizer
from pytransformer.tokenizers.clean_up import clean_up
from pytransformer.translator import SETTINGS, Translator

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

# One translation: {"translation_text": ...} or {"translation_token_ids": ...}.
Record: TypeAlias = dict[str, Any]

_RETURN_NAMES = {"translation": "translation", "text2text-generation": "generated"}
_LANGUAGES_FORM = "translation_XX_to_YY"
_EXPECTED = "expected a string, a list of strings, or an iterable or a dataset of strings"

# How many texts of a dataset, whose reading nothing waits for, each worker translates at once.
_AHEAD = 64


class Dataset(Protocol):
    """What has a length and gives texts by their number, such as transformers' KeyDataset."""

    def __len__(self) -> int: ...

    def __getitem__(self, index: int, /) -> str: ...


def pipeline(
    task: str = "translation",
    model: str | os.PathLike[str] | Translator | None = None,
    tokenizer: object = None,
    *,
    device: object = None,
    device_map: object = None,
    **arguments: Any,
) -> TranslationPipeline:
    """Opens a model as transformers' `pipeline` did.

    Args:
        task: "translation", "translation_xx_to_yy" with two languages, or "text2text-generation".
        model: path of a checkpoint or of a native model file, or a translator; None is the model
            that the package carries.
        tokenizer: the model's own is used in any case: None, the model's path, or a tokenizer that
            transformers loaded from that path.
        device: None, "cpu" or -1.
        device_map: None, "cpu" or "auto".
        **arguments: those of :class:`Translator`, and defaults for those of a call; see
            :meth:`TranslationPipeline.__call__`.

    Raises:
        KeyError: an unknown task.
        OptionError: arguments are unknown or wrong, or ask for another device or tokenizer.
        CheckpointError: the model cannot be read.
    """
    _parse_task(task)
    _check_device("device", device, ("cpu", "-1"))
    _check_device("device_map", device_map, ("cpu", "auto"))
    settings = {name: arguments.pop(name) for name in SETTINGS if name in arguments}
    checked(arguments)
    if not isinstance(model, Translator):
        model = Translator(model, **settings)
    elif settings:
        raise OptionError(f"the translator is open already, so nothing sets {', '.join(settings)}")
    _check_tokenizer(tokenizer, model)
    return TranslationPipeline(model, task, **arguments)


@dataclass(frozen=True)
class _Plan:
    """What a call asks for, checked."""

    languages: dict[str, str | None]
    options: dict[str, Any]
    start: int  # the token before a translation's first one
    several: bool
    return_tensors: bool
    clean_up: bool


class TranslationPipeline:
    """Translates as transformers' TranslationPipeline and Text2TextGenerationPipeline did.

    Attributes:
        task: the task's name, as given.
        model: the translator.

    Example:
        >>> translator = pytransformer.pipeline("translation", tgt_lang="en")
        >>> translator("Ein Hund läuft durch den Schnee.")
        [{'translation_text': 'A dog runs through the snow.'}]
    """

    def __init__(self, model: Translator, task: str = "translation", **arguments: Any) -> None:
        """A pipeline over an open model.

        Args:
            model: the translator.
            task: see :func:`pipeline`.
            **arguments: defaults for the arguments of a call.

        Raises:
            KeyError: an unknown task.
            OptionError: arguments are unknown or wrong.
        """
        self._return_name, languages = _parse_task(task)
        self.task = task
        self.model = model
        self._defaults = checked(arguments)
        # As in transformers, the task's languages count only where neither is given.
        if self._defaults.keys().isdisjoint(("src_lang", "tgt_lang")):
            self._defaults.update(languages)
        self._plan({})

    @property
    def tokenizer(self) -> Tokenizer:
        """The model's tokenizer."""
        return self.model.tokenizer

    @property
    def device(self) -> str:
        """Where the model runs: "cpu"."""
        return "cpu"

    @overload
    def __call__(self, inputs: str, **arguments: Any) -> list[Record]: ...

    @overload
    def __call__(self, inputs: list[Any] | tuple[Any, ...], **arguments: Any) -> list[Any]: ...

    @overload
    def __call__(self, inputs: Iterable[Any] | Dataset, **arguments: Any) -> LazyResults: ...

    def __call__(
        self, inputs: Iterable[Any] | Dataset, **arguments: Any
    ) -> list[Any] | LazyResults:
        """Translates a text, a list of texts, or the texts of an iterable or a dataset.

        Args:
            inputs: a string; a list or a tuple of strings; or any other iterable or dataset of
                strings, from which nothing is read before results are asked for. In place of a
                string may stand a list of strings, whose records then stand in one list.
            **arguments: `src_lang`, `tgt_lang`, `truncation`, `return_tensors`,
                `clean_up_tokenization_spaces`, `batch_size` and arguments of transformers'
                `generate`; docs/pipeline.md lists them.

        Returns:
            For a string, a list of its records, `num_return_sequences` of them. For a list of
            strings, a list of records, or of lists of records where each has several. Else
            :class:`LazyResults`. A record is ``{"translation_text": str}``, with `return_tensors`
            ``{"translation_token_ids": ids}`` with ids of int64 in a NumPy array, start and end
            token included. For text2text-generation "generated" stands for "translation".

        Raises:
            TypeError: `inputs` holds something else than texts.
            OptionError: arguments are unknown or wrong, or a language is not the model's.
            InputLengthError: a text is longer than the model's positions, without `truncation`.
        """
        plan = self._plan(checked(arguments))
        if isinstance(inputs, str):
            return self._translate([inputs], plan)[0]
        if isinstance(inputs, (list, tuple)):
            results = self._translate(inputs, plan)
            flat = not plan.several and all(isinstance(item, str) for item in inputs)
            return [records[0] for records in results] if flat else results
        if isinstance(inputs, (bytes, bytearray, Mapping)) or not _is_readable(inputs):
            raise TypeError(f"inputs is {type(inputs).__name__}, {_EXPECTED}")
        # What has no length may be a stream that goes on only when the last result is there.
        at_once = max(1, plan.options.get("max_batch_size", 0))
        if isinstance(inputs, Sized):
            at_once = max(at_once, _AHEAD) * self.model.inter_threads
        return LazyResults(inputs, lambda items: self._translate(items, plan), at_once)

    def _plan(self, call: Mapping[str, Any]) -> _Plan:
        """Checks a call's arguments against the model, before a text is read."""
        values = merged(self._defaults, call)
        tokenizer, limits = self.tokenizer, self.model.limits
        languages = {name: values.get(name) for name in ("src_lang", "tgt_lang")}
        tokenizer.encode("", **languages)  # an unknown language ends here
        values = {**self.model.language_options(languages["tgt_lang"]), **values}
        options = translator_options(values, limits)
        try:
            resolved = resolve(options, limits).options
        except OptionError as error:
            raise OptionError(in_callers_names(str(error))) from None
        return _Plan(
            languages=languages,
            options=options,
            start=resolved.decoder_start_token_id,
            several=resolved.num_hypotheses > 1,
            return_tensors=values.get("return_tensors", False),
            clean_up=values.get("clean_up_tokenization_spaces", False),
        )

    def _translate(self, items: Sequence[object], plan: _Plan) -> list[list[Record]]:
        """The records of each item."""
        groups = [_texts(index, item) for index, item in enumerate(items)]
        found = iter(self._hypotheses([text for group in groups for text in group], plan))
        return [[self._record(ids, plan) for _ in group for ids in next(found)] for group in groups]

    def _hypotheses(self, texts: list[str], plan: _Plan) -> list[list[list[int]]]:
        """The ids of each text's hypotheses, with the end token where there is one.

        A text is one sentence, whatever line ends it has; one of white space stays empty.
        """
        tokenizer = self.tokenizer
        sources = [
            tokenizer.encode_ids(text, **plan.languages) if text.strip() else [] for text in texts
        ]
        results = self.model.translate_batch(sources, **plan.options, return_end_token=True)
        return [result.ids for result in results]

    def _record(self, ids: list[int], plan: _Plan) -> Record:
        if plan.return_tensors:
            return {f"{self._return_name}_token_ids": _with_start(ids, plan.start)}
        text = self.tokenizer.decode(ids)
        return {f"{self._return_name}_text": clean_up(text) if plan.clean_up else text}


class LazyResults:
    """Results of an iterable's or a dataset's texts, each a list of records, made when asked for.

    Each iteration reads the inputs anew, as far as these can be; the length is theirs.
    """

    def __init__(
        self,
        inputs: Iterable[Any] | Dataset,
        translate: Callable[[list[object]], list[list[Record]]],
        at_once: int,
    ) -> None:
        """Results of `inputs`, which are read and translated `at_once` at a time."""
        self._inputs = inputs
        self._translate = translate
        self._at_once = at_once

    def __len__(self) -> int:
        return len(self._inputs)  # type: ignore[arg-type]  # TypeError if there is none

    def __iter__(self) -> Iterator[list[Record]]:
        inputs = self._inputs
        items = (
            inputs if isinstance(inputs, Iterable) else map(inputs.__getitem__, range(len(self)))
        )
        items = iter(items)
        while chunk := list(itertools.islice(items, self._at_once)):
            yield from self._translate(chunk)


def _parse_task(task: str) -> tuple[str, dict[str, str]]:
    """What a task's results are called, and the languages in its name."""
    if task in _RETURN_NAMES:
        return _RETURN_NAMES[task], {}
    if not str(task).startswith("translation"):
        known = ", ".join((*_RETURN_NAMES, _LANGUAGES_FORM))
        raise KeyError(f"unknown task {task!r}, available tasks are {known}")
    parts = task.split("_")
    if len(parts) != 4 or parts[::2] != ["translation", "to"]:
        raise KeyError(f"invalid translation task {task!r}, use the form {_LANGUAGES_FORM}")
    return _RETURN_NAMES["translation"], {"src_lang": parts[1], "tgt_lang": parts[3]}


def _check_device(name: str, device: object, allowed: Sequence[str]) -> None:
    # PyTorch's devices, which need not be there, are told by their names.
    if device is not None and str(device) not in allowed:
        raise OptionError(
            f"{name} is {device!r}, but pytransformer runs on CPUs only: leave it out"
        )


def _check_tokenizer(tokenizer: object, translator: Translator) -> None:
    given = getattr(tokenizer, "name_or_path", tokenizer)
    if given is None:
        return
    model = translator.model_path
    if not isinstance(given, (str, os.PathLike)) or os.path.realpath(given) != os.path.realpath(
        model
    ):
        raise OptionError(
            f"tokenizer is {given!r}, but the model's own is used, of {model}: leave it out"
        )


def _is_readable(inputs: object) -> bool:
    return isinstance(inputs, Iterable) or (
        isinstance(inputs, Sized) and hasattr(inputs, "__getitem__")
    )


def _texts(index: int, item: object) -> list[str]:
    """The texts of one item of a list or a dataset."""
    texts: list[str] = []
    for text in item if isinstance(item, list) else [item]:
        if not isinstance(text, str):
            raise TypeError(f"input {index} is {type(text).__name__}, {_EXPECTED}")
        texts.append(text)
    return texts


def _with_start(ids: list[int], start: int) -> NDArray[np.int64]:
    """The ids as `generate` gives them."""
    import numpy as np

    return np.array([start, *ids], dtype=np.int64)
