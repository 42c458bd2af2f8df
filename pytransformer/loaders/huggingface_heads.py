"""What stands on Hugging Face's encoders: poolers, and classifiers of the whole input."""

from __future__ import annotations

from collections.abc import Iterator

from pytransformer.loaders.huggingface import Settings
from pytransformer.loaders.tensor_plan import Planned
from pytransformer.model_spec import Activation, Chances, HeadSpec

_MOST_LABELS = 2**20
_PROBLEMS = ("regression", "single_label_classification", "multi_label_classification")


def read_head(
    config: Settings, *, pooler_size: int, pooler_activation: Activation, classifies: bool
) -> HeadSpec | None:
    """The head of a configuration that has a pooler (unless its size is 0), a classifier or both.

    Raises CheckpointError for labels that are no names of classes.
    """
    if not pooler_size and not classifies:
        return None
    labels = _labels(config) if classifies else ()
    return HeadSpec(pooler_size, pooler_activation, labels, _chances(config, len(labels)))


def plan_head(
    head: HeadSpec | None, d_model: int, pooler: str, classifier: str
) -> Iterator[tuple[str, Planned]]:
    """Where the tensors of a head come from; the names are what those of its parts begin with."""
    if head is None:
        return
    read = head.pooler_size or d_model
    sizes = {
        "pooler": (pooler, head.pooler_size, d_model),
        "classifier": (classifier, len(head.labels), read),
    }
    for name, (stored, outputs, inputs) in sizes.items():
        if outputs:
            yield f"{name}.weight", Planned(f"{stored}.weight", (outputs, inputs))
            yield f"{name}.bias", Planned(f"{stored}.bias", (outputs,))


def _labels(config: Settings) -> tuple[str, ...]:
    """The names of the classes in the order of their ids."""
    given = config.get("id2label")
    if given is None:
        count = config.integer("num_labels", 2, minimum=1, maximum=_MOST_LABELS)
        return tuple(f"LABEL_{i}" for i in range(count))
    numbers = [str(i) for i in range(len(given))] if isinstance(given, dict) else []
    if not numbers or set(given) != set(numbers) or not all(map(_is_text, given.values())):
        raise config.error("id2label", "the names of the classes by their numbers from 0")
    return tuple(given[number] for number in numbers)


def _chances(config: Settings, labels: int) -> Chances:
    """As transformers' pipelines make probabilities of logits."""
    problem = config.text("problem_type", "single_label_classification")
    if problem not in _PROBLEMS:
        raise config.error("problem_type", f"one of {', '.join(_PROBLEMS)}")
    if problem == "regression":
        return "none"
    return "sigmoid" if problem.startswith("multi") or labels == 1 else "softmax"


def _is_text(value: object) -> bool:
    return isinstance(value, str) and value.isprintable()
