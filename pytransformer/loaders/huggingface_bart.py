"""BART and what was made of it, as Hugging Face stores them: mBART, M2M100, Pegasus and FSMT.

Names and arithmetic are those of transformers' modeling files of the same names.
"""

from __future__ import annotations

from pytransformer.loaders.huggingface import Settings
from pytransformer.loaders.huggingface_embeddings import Embeddings, Tying
from pytransformer.loaders.huggingface_encoder_decoder import Family, Vocabularies
from pytransformer.loaders.huggingface_positions import Positions
from pytransformer.loaders.huggingface_seq2seq_tokenizer import read_tokenizer


def _read_two_vocabularies(config: Settings) -> Vocabularies:
    """FSMT's; its output is always tied to the decoder's embedding, unless it is stored apart."""
    shared = config.flag("tie_word_embeddings", False)
    source = config.integer("src_vocab_size", 42024, minimum=1)
    target = config.integer("tgt_vocab_size", 42024, minimum=1)
    return Vocabularies(source, target, Tying(shared, tied_output=True))


BART = Family(
    model_type="bart",
    DESCRIPTION="a Hugging Face BART directory (config.json with model_type 'bart')",
    norm_position="post",
    final_norm=False,
    embedding_norm=True,
    positions=Positions("learned", offset=2),
    read_tokenizer=read_tokenizer,
    defaults={
        "bos_token_id": 0,
        "eos_token_id": 2,
        "decoder_start_token_id": 2,
        "forced_eos_token_id": 2,
    },
)

MBART = Family(
    model_type="mbart",
    DESCRIPTION="a Hugging Face mBART or mBART-50 directory (config.json with model_type 'mbart')",
    norm_position="pre",
    final_norm=True,
    embedding_norm=True,
    positions=Positions("learned", offset=2),
    read_tokenizer=read_tokenizer,
    defaults={"bos_token_id": 0, "eos_token_id": 2, "forced_eos_token_id": 2},
)

M2M_100 = Family(
    model_type="m2m_100",
    DESCRIPTION=(
        "a Hugging Face M2M100, NLLB-200 or SMaLL-100 directory (config.json with model_type "
        "'m2m_100')"
    ),
    norm_position="pre",
    final_norm=True,
    embedding_norm=False,
    positions=Positions(
        "sinusoidal_tensor2tensor", offset=None, name="embed_positions.weights", is_read=False
    ),
    read_tokenizer=read_tokenizer,
    defaults={
        "vocab_size": 128112,
        "activation_function": "relu",
        "scale_embedding": True,
        "bos_token_id": 0,
        "eos_token_id": 2,
        "decoder_start_token_id": 2,
    },
)

PEGASUS = Family(
    model_type="pegasus",
    DESCRIPTION="a Hugging Face Pegasus directory (config.json with model_type 'pegasus')",
    norm_position="pre",
    final_norm=True,
    embedding_norm=False,
    positions=Positions("sinusoidal", offset=0),
    read_tokenizer=read_tokenizer,
    defaults={"eos_token_id": 1, "decoder_start_token_id": 0, "forced_eos_token_id": 1},
)

FSMT = Family(
    model_type="fsmt",
    DESCRIPTION=(
        "a Hugging Face FSMT directory (fairseq's WMT models; config.json with model_type 'fsmt')"
    ),
    norm_position="post",
    final_norm=False,
    embedding_norm=False,
    positions=Positions("sinusoidal_tensor2tensor", offset=None),
    read_tokenizer=read_tokenizer,
    defaults={
        "activation_function": "relu",
        "scale_embedding": True,
        "bos_token_id": 0,
        "eos_token_id": 2,
        "decoder_start_token_id": 2,
        "forced_eos_token_id": 2,
        "num_beams": 5,
        "max_length": 200,
    },
    read_vocabularies=_read_two_vocabularies,
    embeddings=Embeddings(
        encoder="model.encoder.embed_tokens.weight",
        decoder="model.decoder.embed_tokens.weight",
        output="model.decoder.output_projection.weight",
        shared="model.decoder.embed_tokens.weight",
    ),
)
