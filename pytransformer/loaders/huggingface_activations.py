"""The names of activation functions in Hugging Face's configurations."""

from __future__ import annotations

from pytransformer.errors import UnsupportedModelError
from pytransformer.loaders.huggingface import Settings
from pytransformer.model_spec import Activation

# The approximations of gelu differ in how they are computed, by less than float32 resolves.
ACTIVATIONS: dict[str, Activation] = {
    "relu": "relu",
    "gelu": "gelu",
    "gelu_python": "gelu",
    "gelu_new": "gelu_tanh",
    "gelu_fast": "gelu_tanh",
    "gelu_accurate": "gelu_tanh",
    "gelu_pytorch_tanh": "gelu_tanh",
    "gelu_python_tanh": "gelu_tanh",
    "quick_gelu": "gelu_sigmoid",
    "silu": "silu",
    "swish": "silu",
    "tanh": "tanh",
}


def read_activation(config: Settings, key: str, default: str) -> Activation:
    """The activation function that `key` names; raises UnsupportedModelError for an unknown one."""
    name = config.text(key, default)
    if name not in ACTIVATIONS:
        known = ", ".join(sorted(ACTIVATIONS))
        raise UnsupportedModelError(f"{config.path}: {key} {name!r} is not one of {known}")
    return ACTIVATIONS[name]
