"""State dicts of Transformers that people write in PyTorch, with a description in JSON.

Three architectures are known, by the names of their tensors:

* `"nn.Transformer"`: a model with PyTorch's own Transformer (or its encoder and decoder apart),
  embeddings and an output layer, such as PyTorch's tutorial on translation;
* `"annotated_transformer"`: The Annotated Transformer (Harvard NLP);
* `"pytorch_seq2seq"`: "Attention is All You Need" of the tutorials pytorch-seq2seq (Ben Trevett).

The description is `config.json` or `model.json` in a directory, any other `.json` file, or one
beside the weights with the same name. Sizes are read from the tensors; what they do not tell stands
in it. All keys but the first two may be missing::

    architecture            one of the three above
    nhead                   attention heads (or encoder_heads and decoder_heads)
    weights                 the file with the state dict: .safetensors, .pt, .pth or .bin; it need
                            not be named if there is only one. A training checkpoint may hold the
                            state dict as one of its values
    activation              "relu" (the default), "gelu", "gelu_tanh", "silu", "tanh"
    norm_first              of nn.Transformer, as there; false by default
    layer_norm_eps          1e-5 by default, 1e-6 for The Annotated Transformer
    embedding_scale         sqrt(d_model) by default, 1 for none
    positions               where the weights hold no table of them: "sinusoidal_interleaved" (as in
                            the paper), "sinusoidal" (all sines first) or "none"
    max_length              how many positions there are if they are not stored; 5000 by default
    vocabulary              a file with the tokens in the order of their ids: a sentencepiece model
                            (.model, .spm), a JSON list, or a text with one in each line; without
                            one, ids stand for tokens
    source_vocabulary, target_vocabulary        instead of it, if the sides differ
    bos_token_id, eos_token_id, unk_token_id    of the target; by default tokens of usual names
    source_bos, source_eos  whether a source begins and ends with these tokens; true by default
    decoder_start_token_id  bos_token_id by default
    max_decoding_length     256 by default, if there are so many positions
    beam_size               1 by default
    length_penalty          1 by default
    names                   names of tensors that are not found: source_embedding, target_embedding,
                            output, and positions or source_positions and target_positions
    unused                  names of tensors that no computation reads

The arguments of nn.Transformer that the tensors tell may be given too, and are compared with them:
d_model, num_encoder_layers, num_decoder_layers, dim_feedforward, bias; dropout, batch_first and a
pad_token_id make no difference. Texts are cut by the sentencepiece model, by one or BPE codes
beside the weights (see :mod:`pytransformer.loaders.token_lists`), or else at white space. Tokens
that are given as such are read as they are, with the end token added: a begin token must be among
them.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from pytransformer.errors import CheckpointError
from pytransformer.loaders.huggingface import Settings, read_json_object
from pytransformer.loaders.pickle_machine import Record
from pytransformer.loaders.pytorch_file import (
    PytorchObject,
    StateDict,
    is_pytorch_file,
    is_state_dict,
)
from pytransformer.loaders.pytorch_records import COMMON_NAMES
from pytransformer.loaders.safetensors_file import SafetensorsFile
from pytransformer.loaders.state_dict_model import StateDictModel
from pytransformer.loaders.state_dict_names import ARCHITECTURES
from pytransformer.loaders.state_dict_tokens import read_tokens
from pytransformer.loaders.tensor_plan import bind
from pytransformer.loaders.tensor_source import TensorSource
from pytransformer.loaders.token_lists import read_cutters
from pytransformer.model_spec import Checkpoint, GenerationSpec

DESCRIPTION = (
    "a state dict of PyTorch with a description in JSON (architecture "
    f"{', '.join(map(repr, ARCHITECTURES))})"
)

_DESCRIPTIONS = ("config.json", "model.json")
_PYTORCH = (".pt", ".pth", ".bin", ".ckpt")
_WEIGHTS = (".safetensors", *_PYTORCH)
_MAX_DECODING_LENGTH = 256
_KEYS = {
    "architecture", "weights", "nhead", "encoder_heads", "decoder_heads", "activation",
    "norm_first", "layer_norm_eps", "embedding_scale", "positions", "max_length", "vocabulary",
    "source_vocabulary", "target_vocabulary", "bos_token_id", "eos_token_id", "unk_token_id",
    "pad_token_id", "source_bos", "source_eos", "decoder_start_token_id", "max_decoding_length",
    "beam_size", "length_penalty", "names", "unused", "d_model", "num_encoder_layers",
    "num_decoder_layers", "dim_feedforward", "bias", "dropout", "batch_first",
}  # fmt: skip


def recognises(path: Path) -> bool:
    """Whether there is a description here, or a file of PyTorch that no other loader has taken."""
    if _description(path) is not None:
        return True
    return path.suffix in _PYTORCH and is_pytorch_file(path)


def load(path: Path) -> Checkpoint:
    """Reads a checkpoint; see :func:`pytransformer.loaders.load`."""
    description = _description(path)
    if description is None:
        raise _undescribed(path)
    config = Settings.read(description)
    is_weights = path.is_file() and path.suffix in _WEIGHTS
    weights = path if is_weights else _weights_file(description.parent, config)
    return build(description.parent, config, open_state_dict(weights))


def build(directory: Path, config: Settings, source: TensorSource) -> Checkpoint:
    """The checkpoint with this description and these weights, and the files of a directory."""
    if unknown := sorted(map(str, config.values.keys() - _KEYS)):
        raise CheckpointError(
            f"{config.path}: unknown: {', '.join(unknown)[:200]}; known: {', '.join(sorted(_KEYS))}"
        )
    model = StateDictModel(config, source)
    tensors = bind(directory, source, *model.plan(), config.path.name)
    spec = model.spec
    tokens = read_tokens(directory, config, spec.encoder.vocab_size, spec.decoder.vocab_size)
    start = config.integer("decoder_start_token_id", tokens.begin_id)
    if start >= spec.decoder.vocab_size:
        raise config.error("decoder_start_token_id", f"below {spec.decoder.vocab_size}")
    lists = tokens.lists(start)
    tokenizer, files = lists.tokenizer(config.path, {**read_cutters(directory), **tokens.cutters})
    most = spec.decoder.positions.max_length - 1
    generation = GenerationSpec(
        decoder_start_token_id=start,
        end_token_id=tokens.end_id,
        forced_end_token_id=None,
        suppress_token_ids=(),
        max_decoding_length=config.integer(
            "max_decoding_length", min(_MAX_DECODING_LENGTH, most), minimum=1, maximum=most
        ),
        beam_size=config.integer("beam_size", 1, minimum=1),
        length_penalty=config.number("length_penalty", 1.0),
    )
    return Checkpoint(model.architecture, spec, generation, tokenizer, tensors, files)


def open_state_dict(path: Path) -> TensorSource:
    """The state dict in a file, which may be a training checkpoint that holds one."""
    if path.suffix == ".safetensors":
        return SafetensorsFile(path)
    saved = PytorchObject(path, COMMON_NAMES)
    root = saved.root
    values = root.values() if isinstance(root, dict) else ()
    candidates = [root, *values] if is_state_dict(root) else list(values)
    found = [value for value in candidates if value and is_state_dict(value)]
    if len(found) != 1:
        raise CheckpointError(
            f"{path}: expected a state dict, which maps names to tensors, or a dictionary with one "
            f"of them, not with {len(found)}"
        )
    return StateDict(saved, found[0])


def _description(path: Path) -> Path | None:
    """The file that describes what is at `path`, if there is one."""
    if path.is_dir():
        candidates = [path / name for name in _DESCRIPTIONS]
    elif path.suffix in _WEIGHTS:
        candidates = [path.with_suffix(".json")]
    else:
        candidates = [path]
    for candidate in candidates:
        if candidate.suffix == ".json" and candidate.is_file() and _architecture(candidate):
            return candidate
    return None


def _architecture(path: Path) -> bool:
    try:
        return read_json_object(path).get("architecture") in ARCHITECTURES
    except (CheckpointError, TypeError):
        return False


def _weights_file(directory: Path, config: Settings) -> Path:
    name = config.text("weights", "")
    if not name:
        found = sorted(item.name for item in directory.iterdir() if item.suffix in _WEIGHTS)
        if len(found) != 1:
            raise CheckpointError(
                f"{config.path}: weights should name one of {', '.join(found[:8]) or 'no files'}"
            )
        name = found[0]
    path = directory / name
    if Path(name).name != name or not path.is_file() or path.suffix not in _WEIGHTS:
        raise config.error("weights", f"a file in {directory} that ends with {', '.join(_WEIGHTS)}")
    return path


def _undescribed(path: Path) -> CheckpointError:
    """What to say of a file of PyTorch that nothing describes: its own fault, if it has one."""
    root: Any = PytorchObject(path, lenient=True).root
    if is_state_dict(root):
        holds = "a state dict"
    elif isinstance(root, dict):
        holds = f"a dictionary with {', '.join(map(repr, list(root)[:8]))[:200]}"
    else:
        holds = f"an object of the class {root.name if isinstance(root, Record) else type(root)}"
    return CheckpointError(
        f"{path}: {holds}, and no {path.with_suffix('.json').name} beside it that describes the "
        f"model; its architecture would be one of {', '.join(map(repr, ARCHITECTURES))}"
    )
