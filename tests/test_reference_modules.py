"""The reference in NumPy against modules of transformers: T5, Llama, BERT, positions."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping

import numpy as np
import numpy.typing as npt
import pytest
import torch
from torch import Tensor
from transformers import (
    BertConfig,
    BertModel,
    LlamaConfig,
    LlamaForCausalLM,
    T5Config,
    T5ForConditionalGeneration,
)
from transformers.models.m2m_100.modeling_m2m_100 import M2M100SinusoidalPositionalEmbedding
from transformers.models.t5.modeling_t5 import T5Attention

import reference
from pytransformer.model_spec import (
    DistanceSpec,
    ModelSpec,
    PositionSpec,
)
from random_models import decoder_spec, encoder_spec, model_spec, random_checkpoint, stack
from reference_model import ReferenceModel

Tensors = Mapping[str, npt.NDArray[np.float32]]

SOURCE = [3, 17, 60, 4, 4, 9, 1, 33, 12, 0]
TARGET = [60, 5, 31, 31, 2, 8, 44]
FURTHEST = 140  # where T5's last bucket has begun


def assert_close(ours: npt.NDArray[np.float64], expected: Tensor) -> None:
    np.testing.assert_allclose(ours, expected.numpy(), rtol=1e-9, atol=1e-10)


def assert_near(ours: npt.NDArray[np.float64], expected: Tensor) -> None:
    """Of modules that compute norms, softmax or angles in float32 whatever their weights are."""
    size = float((expected**2).mean().sqrt())
    np.testing.assert_allclose(ours, expected, rtol=0, atol=1e-5 * size)


def with_tensors(spec: ModelSpec, tensors: Tensors, *, biases: bool = False) -> ReferenceModel:
    """The reference over exactly these tensors, which must be all that the architecture has."""
    checkpoint = random_checkpoint(spec, bias_share=float(biases))
    shapes = {name: value.shape for name, value in checkpoint.tensors.items()}
    assert {name: value.shape for name, value in tensors.items()} == shapes
    return ReferenceModel(dataclasses.replace(checkpoint, tensors=tensors))


def renamed(
    module: torch.nn.Module, names: Mapping[str, str], layers: Mapping[str, str], count: int
) -> dict[str, npt.NDArray[np.float32]]:
    """A module's tensors under our names: single ones, and those of each layer `{i}`."""
    every = dict(names)
    for i in range(count):
        every.update({ours.format(i=i): theirs.format(i=i) for ours, theirs in layers.items()})
    state = module.state_dict()
    return {ours: state[theirs].numpy() for ours, theirs in every.items()}


@pytest.fixture(autouse=True)
def double_precision() -> Iterator[None]:
    torch.manual_seed(1)
    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(torch.float32)


@pytest.mark.parametrize("projection", ["relu", "gated-gelu", "gated-silu"])
def test_t5(projection: str) -> None:
    """Norms of mean squares, distances as biases, gates, and attention without a scale."""
    config = T5Config(
        vocab_size=61,
        d_model=20,
        d_kv=6,
        num_heads=3,
        d_ff=37,
        num_layers=2,
        feed_forward_proj=projection,
        tie_word_embeddings=False,
        decoder_start_token_id=0,
        dropout_rate=0.0,
        initializer_factor=1.5,
    )
    module = T5ForConditionalGeneration(config).eval()
    module.load_state_dict({name: wide(t) for name, t in module.state_dict().items()})
    with torch.inference_mode():
        inputs = {"input_ids": torch.tensor([SOURCE]), "decoder_input_ids": torch.tensor([TARGET])}
        expected = module(**inputs).logits[0]
    activation = {"relu": "relu", "gated-gelu": "gelu_tanh", "gated-silu": "silu"}[projection]
    both = stack(
        num_heads=3,
        head_dim=6,
        activation=activation,
        norm="rms",
        norm_position="pre",
        norm_epsilon=config.layer_norm_epsilon,
        final_norm=True,
        gated=projection != "relu",
        embedding_scale=1.0,
        attention_scale=1.0,
        positions=PositionSpec("none", 512),
        distances=DistanceSpec("bias", FURTHEST),
    )
    spec = model_spec(encoder=both, decoder=both, tied_output=False)
    model = with_tensors(spec, t5_tensors(module, gated=both.gated))
    assert_near(model.logits(SOURCE, TARGET), expected)


def wide(tensor: Tensor) -> Tensor:
    """With other norms and biases than the ones and zeros of a new module."""
    return tensor + torch.randn_like(tensor) * 0.2 if tensor.ndim == 1 else tensor


def t5_tensors(module: torch.nn.Module, *, gated: bool) -> dict[str, npt.NDArray[np.float32]]:
    names = {"shared.embedding.weight": "shared.weight", "output.weight": "lm_head.weight"}
    layers = {}
    for side, last in (("encoder", 1), ("decoder", 2)):
        names[f"{side}.norm.weight"] = f"{side}.final_layer_norm.weight"
        sublayers = [("self_attention", "SelfAttention"), ("cross_attention", "EncDecAttention")]
        for j, (ours, theirs) in enumerate(sublayers[:last]):
            block, layer = f"{side}.block.{{i}}.layer.{j}", f"{side}.layers.{{i}}.{ours}"
            layers[f"{layer}.norm.weight"] = f"{block}.layer_norm.weight"
            for letter, name in zip("qkvo", ("query", "key", "value", "output"), strict=True):
                layers[f"{layer}.{name}.weight"] = f"{block}.{theirs}.{letter}.weight"
        block, layer = f"{side}.block.{{i}}.layer.{last}", f"{side}.layers.{{i}}.feed_forward"
        layers[f"{layer}.norm.weight"] = f"{block}.layer_norm.weight"
        layers[f"{layer}.down.weight"] = f"{block}.DenseReluDense.wo.weight"
        parts = {"gate": "wi_0", "up": "wi_1"} if gated else {"up": "wi"}
        for ours, theirs in parts.items():
            layers[f"{layer}.{ours}.weight"] = f"{block}.DenseReluDense.{theirs}.weight"
    tensors = renamed(module, names, layers, 2)
    for side in ("encoder", "decoder"):
        table = module.get_parameter(
            f"{side}.block.0.layer.0.SelfAttention.relative_attention_bias.weight"
        )
        buckets = T5Attention._relative_position_bucket(
            torch.arange(-FURTHEST, FURTHEST + 1), bidirectional=side == "encoder"
        )
        for i in range(2):
            name = f"{side}.layers.{i}.self_attention.distances.bias"
            tensors[name] = table[buckets].T.detach().numpy()
    return tensors


def test_a_decoder_alone() -> None:
    """Llama: rotary positions, and a model without an encoder."""
    config = LlamaConfig(
        vocab_size=61,
        hidden_size=24,
        intermediate_size=37,
        num_hidden_layers=2,
        num_attention_heads=3,
        rms_norm_eps=1e-5,
        initializer_range=0.3,
        rope_parameters={"rope_type": "default", "rope_theta": 500.0},
        attn_implementation="eager",
    )
    module = LlamaForCausalLM(config).eval()
    module.load_state_dict({name: wide(t) for name, t in module.state_dict().items()})
    with torch.inference_mode():
        expected = module(input_ids=torch.tensor([TARGET])).logits[0]
    names = {
        "decoder.embedding.weight": "model.embed_tokens.weight",
        "decoder.norm.weight": "model.norm.weight",
        "output.weight": "lm_head.weight",
    }
    parts = {
        "self_attention.query": "self_attn.q_proj",
        "self_attention.key": "self_attn.k_proj",
        "self_attention.value": "self_attn.v_proj",
        "self_attention.output": "self_attn.o_proj",
        "self_attention.norm": "input_layernorm",
        "feed_forward.up": "mlp.up_proj",
        "feed_forward.gate": "mlp.gate_proj",
        "feed_forward.down": "mlp.down_proj",
        "feed_forward.norm": "post_attention_layernorm",
    }
    layers = {
        f"decoder.layers.{{i}}.{ours}.weight": f"model.layers.{{i}}.{theirs}.weight"
        for ours, theirs in parts.items()
    }
    decoder = stack(
        d_model=24,
        num_heads=3,
        head_dim=8,
        activation="silu",
        norm="rms",
        norm_position="pre",
        final_norm=True,
        gated=True,
        embedding_scale=1.0,
        attention_scale=8**-0.5,
        positions=PositionSpec("none", 512),
        distances=DistanceSpec("rotary", theta=500.0),
    )
    model = with_tensors(
        decoder_spec(decoder, tied_output=False), renamed(module, names, layers, 2)
    )
    assert_near(model.logits([], TARGET), expected)


def test_an_encoder_alone() -> None:
    """BERT: types of tokens, of which the learned positions know."""
    config = BertConfig(
        vocab_size=61,
        hidden_size=20,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=37,
        max_position_embeddings=30,
        type_vocab_size=2,
        layer_norm_eps=1e-5,
        initializer_range=0.3,
    )
    module = BertModel(config, add_pooling_layer=False).eval()
    module.load_state_dict({name: wide(t) for name, t in module.state_dict().items()})
    types = [0, 0, 0, 1, 1, 0, 1, 1, 1, 1]
    with torch.inference_mode():
        states = [
            module(torch.tensor([SOURCE]), token_type_ids=torch.tensor([row])).last_hidden_state[0]
            for row in (types, [0] * len(SOURCE))
        ]
    parts = {
        "self_attention.query": "attention.self.query",
        "self_attention.key": "attention.self.key",
        "self_attention.value": "attention.self.value",
        "self_attention.output": "attention.output.dense",
        "self_attention.norm": "attention.output.LayerNorm",
        "feed_forward.up": "intermediate.dense",
        "feed_forward.down": "output.dense",
        "feed_forward.norm": "output.LayerNorm",
    }
    layers = {
        f"encoder.layers.{{i}}.{ours}.{kind}": f"encoder.layer.{{i}}.{theirs}.{kind}"
        for ours, theirs in parts.items()
        for kind in ("weight", "bias")
    }
    names = {
        "encoder.embedding.weight": "embeddings.word_embeddings.weight",
        "encoder.embedding.norm.weight": "embeddings.LayerNorm.weight",
        "encoder.embedding.norm.bias": "embeddings.LayerNorm.bias",
    }
    tensors = renamed(module, names, layers, 2)
    state = {name: t.numpy() for name, t in module.state_dict().items()}
    positions = state["embeddings.position_embeddings.weight"]
    tensors["encoder.positions.weight"] = np.concatenate(
        [positions + row for row in state["embeddings.token_type_embeddings.weight"]]
    )
    encoder = stack(
        activation="gelu",
        embedding_norm=True,
        embedding_scale=1.0,
        positions=PositionSpec("learned", 30, segments=2),
    )
    model = with_tensors(encoder_spec(encoder), tensors, biases=True)
    assert_close(model.encode(SOURCE, types), states[0])
    assert_close(model.encode(SOURCE), states[1])


@pytest.mark.parametrize("d_model", [4, 20, 21, 34])
def test_positions_of_tensor2tensor(d_model: int) -> None:
    expected = M2M100SinusoidalPositionalEmbedding.get_embedding(50, d_model)
    ours = reference.tensor2tensor_encoding(50, d_model)
    np.testing.assert_allclose(ours, expected, rtol=0, atol=5e-6)  # which is float32
