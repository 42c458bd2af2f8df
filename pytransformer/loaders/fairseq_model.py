"""The architecture of fairseq's Transformer, and where each of its tensors is stored."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from pytransformer.errors import CheckpointError
from pytransformer.loaders.huggingface import Settings
from pytransformer.loaders.huggingface_embeddings import same_values
from pytransformer.loaders.pytorch_records import choice, refuse_changes
from pytransformer.loaders.stack_plan import StackNames, Stored, fused
from pytransformer.loaders.tensor_plan import Planned, Shape
from pytransformer.loaders.tensor_source import TensorSource
from pytransformer.model_spec import Activation, ModelSpec, PositionKind, PositionSpec, StackSpec

_ARCHITECTURES = (
    "transformer",
    "transformer_align",
    "transformer_iwslt_de_en",
    "transformer_tiny",
    "transformer_vaswani_wmt_en_de_big",
    "transformer_vaswani_wmt_en_fr_big",
    "transformer_wmt_en_de",
    "transformer_wmt_en_de_big",
    "transformer_wmt_en_de_big_align",
    "transformer_wmt_en_de_big_t2t",
)
_ACTIVATIONS: dict[str, Activation] = {
    "relu": "relu",
    "gelu": "gelu",
    "gelu_accurate": "gelu_tanh",
    "gelu_fast": "gelu_tanh",
    "swish": "silu",
    "tanh": "tanh",
}
# Options that change what is computed, with the values that change nothing.
_WITHOUT_EFFECT: dict[str, tuple[Any, ...]] = {
    "adaptive_input": (False,),
    "adaptive_softmax_cutoff": (),
    "base_layers": (0,),
    "char_inputs": (False,),
    "cross_self_attention": (False,),
    "decoder_layers_to_keep": (),
    "encoder_layers_to_keep": (),
    "merge_src_tgt_embed": (False,),
    "no_cross_attention": (False,),
    "quant_noise_scalar": (0,),
}
_EMBEDDING = "{}.embed_tokens.weight"
_POSITIONS = "{}.embed_positions."
_OUTPUTS = ("decoder.output_projection.weight", "decoder.embed_out")  # the latter until 0.8
_FIRST_POSITION = 2  # the row behind that of the padding token, which is 1 in every dictionary
_LAYER_NORM_EPSILON = 1e-5
_MAX_LAYERS = 1000
_MAX_POSITIONS = 2**16  # the engine's limit
_PROJECTIONS = {"query": "q_proj", "key": "k_proj", "value": "v_proj", "output": "out_proj"}


class FairseqModel:
    """The architecture `spec` that the options tell, and the plan of its tensors."""

    def __init__(
        self, options: Settings, source: TensorSource, source_size: int, target_size: int
    ) -> None:
        _refuse_unsupported(options)
        self._options = options
        self._source = source
        self._output = self._find_output()
        encoder, decoder = (_EMBEDDING.format(side) for side in ("encoder", "decoder"))
        self.spec = ModelSpec(
            encoder=self._stack("encoder", source_size),
            decoder=self._stack("decoder", target_size),
            shared_embedding=same_values(source, encoder, decoder),
            tied_output=same_values(source, self._output, decoder),
        )

    def plan(self) -> tuple[dict[str, Planned], dict[str, Shape]]:
        """Where every tensor comes from, and which may be stored besides."""
        plan: dict[str, Planned] = {}
        allowed: dict[str, Shape] = {}
        model = self.spec
        for side, stack in (("encoder", model.encoder), ("decoder", model.decoder)):
            canonical = "shared" if model.shared_embedding else side
            shape = (stack.vocab_size, stack.d_model)
            plan[f"{canonical}.embedding.weight"] = Planned(_EMBEDDING.format(side), shape)
            plan.update(self._positions_plan(side, stack))
            plan.update(self._names(side, stack).plan(side, stack, model.encoder.d_model))
            allowed[_EMBEDDING.format(side)] = shape
            allowed.update(self._bookkeeping(side, stack))
        shape = (model.decoder.vocab_size, model.decoder.d_model)
        allowed[self._output] = shape
        if not model.tied_output:
            plan["output.weight"] = Planned(self._output, shape)
        return plan, allowed

    def _find_output(self) -> str:
        """The name of the output matrix, which need not be stored if it is an embedding's."""
        found = [name for name in _OUTPUTS if name in self._source.shapes]
        is_tied = any(
            self._options.flag(name, False)
            for name in ("share_decoder_input_output_embed", "share_all_embeddings")
        )
        usual = _EMBEDDING.format("decoder") if is_tied else _OUTPUTS[0]
        return found[0] if found else usual

    def _stack(self, side: str, vocab_size: int) -> StackSpec:
        options = self._options
        width = options.integer("encoder_embed_dim", 512, minimum=1)
        d_ff = options.integer("encoder_ffn_embed_dim", 2048, minimum=1)
        d_model = options.integer(f"{side}_embed_dim", width, minimum=1)
        num_heads = options.integer(f"{side}_attention_heads", 8, minimum=1, maximum=2**15)
        if d_model % num_heads:
            raise CheckpointError(
                f"{options.path}: {num_heads} heads cannot share {d_model} columns"
            )
        is_pre_norm = options.flag(f"{side}_normalize_before", False)
        return StackSpec(
            num_layers=options.integer(f"{side}_layers", 6, maximum=_MAX_LAYERS),
            d_model=d_model,
            num_heads=num_heads,
            head_dim=d_model // num_heads,
            d_ff=options.integer(f"{side}_ffn_embed_dim", d_ff, minimum=1),
            vocab_size=vocab_size,
            activation=choice(options, "activation_fn", "relu", _ACTIVATIONS),
            norm_position="pre" if is_pre_norm else "post",
            final_norm=is_pre_norm and self._has_final_norm(side),
            embedding_norm=options.flag("layernorm_embedding", False),
            embedding_scale=1.0 if options.flag("no_scale_embedding", False) else d_model**0.5,
            attention_scale=(d_model // num_heads) ** -0.5,
            norm_epsilon=_LAYER_NORM_EPSILON,
            positions=self._positions(side),
        )

    def _has_final_norm(self, side: str) -> bool:
        """Whether a pre-norm stack ends with a norm: not in checkpoints of the first versions."""
        if side == "decoder" and self._options.flag("no_decoder_final_norm", False):
            return False
        name, newest_without = f"{side}.version", 1 if side == "encoder" else 2
        if self._source.shapes.get(name) != (1,):
            return False
        return float(self._source.read(name)[0]) > newest_without

    def _positions(self, side: str) -> PositionSpec:
        options = self._options
        key = f"max_{'source' if side == 'encoder' else 'target'}_positions"
        kind: PositionKind = "sinusoidal_tensor2tensor"
        if options.flag("no_token_positional_embeddings", False):
            kind = "none"
        elif options.flag(f"{side}_learned_pos", False):
            return PositionSpec(
                "learned", options.integer(key, 1024, 2, _MAX_POSITIONS), _FIRST_POSITION
            )
        max_length = min(options.integer(key, 1024, 2), _MAX_POSITIONS)
        return PositionSpec(kind, max_length, _FIRST_POSITION)

    def _positions_plan(self, side: str, stack: StackSpec) -> Iterator[tuple[str, Planned]]:
        if stack.positions.kind == "learned":
            shape = (_FIRST_POSITION + stack.positions.max_length, stack.d_model)
            name = _POSITIONS.format(side) + "weight"
            yield f"{side}.positions.weight", Planned(name, shape)

    def _names(self, side: str, stack: StackSpec) -> StackNames:
        layer = f"{side}.layers.{{}}."
        attentions = {"self_attention": "self_attn"}
        if side == "decoder":
            attentions["cross_attention"] = "encoder_attn"
        linears = {"feed_forward.up": Stored("fc1."), "feed_forward.down": Stored("fc2.")}
        norms = [*attentions.values(), "final"]
        for attention, theirs in attentions.items():
            for part, stored in _PROJECTIONS.items():
                linears[f"{attention}.{part}"] = Stored(f"{theirs}.{stored}.")
            # Until version 0.8 the projections were stored in one matrix, and norms had numbers.
            if f"{layer.format(0)}{theirs}.in_proj_weight" in self._source.shapes:
                linears.update(fused(attention, f"{theirs}.in_proj_", stack.d_model))
        numbered = f"{layer.format(0)}layer_norms.0.weight" in self._source.shapes
        stored_norms = {
            f"{ours}.norm": f"layer_norms.{i}." if numbered else f"{theirs}_layer_norm."
            for i, (ours, theirs) in enumerate(
                zip([*attentions, "feed_forward"], norms, strict=True)
            )
        }
        if stack.final_norm:
            stored_norms["norm"] = f"{side}.layer_norm."
        if stack.embedding_norm:
            stored_norms["embedding.norm"] = f"{side}.layernorm_embedding."
        return StackNames(layer, linears, stored_norms)

    def _bookkeeping(self, side: str, stack: StackSpec) -> Iterator[tuple[str, Shape]]:
        """Tensors of a stack that no computation reads."""
        yield f"{side}.version", (1,)
        if stack.positions.kind == "sinusoidal_tensor2tensor":
            for name in ("_float_tensor", "weights"):  # the latter are computed anew
                stored = _POSITIONS.format(side) + name
                yield stored, self._source.shapes.get(stored, (1,))
        if side == "decoder":
            return
        width, d_ff = stack.d_model, stack.d_ff
        for i in range(stack.num_layers):
            for name, shape in (
                ("in_proj_weight", (3 * width, width)),
                ("out_proj_weight", (width, width)),
                ("fc1_weight", (d_ff, width)),
                ("fc2_weight", (width, d_ff)),
            ):
                yield f"{side}.layers.{i}.{name}", shape
                yield f"{side}.layers.{i}.{name.replace('weight', 'bias')}", shape[:1]


def _refuse_unsupported(options: Settings) -> None:
    choice(options, "arch", "transformer", dict.fromkeys(_ARCHITECTURES))
    width = options.get("decoder_embed_dim")
    widths = dict.fromkeys(("decoder_input_dim", "decoder_output_dim"), (width,))
    refuse_changes(options, {**_WITHOUT_EFFECT, **widths})
