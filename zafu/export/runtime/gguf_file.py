"""GGUF, the file that llama.cpp reads: a decoder's weights, sizes and tokenizer under its names.

Keys: github.com/ggml-org/ggml/blob/master/docs/gguf.md. In llama.cpp's `llama` the dims that turn
together are neighbours, so rows of queries and keys change places; in its `qwen3`, which has norms
on both, they stand in the halves of a head as here.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import numpy as np
from torch import Tensor, nn

from zafu.errors import Fault
from zafu.export.contract import Source
from zafu.nets.decoder import Block, Decoder
from zafu.tokenizers import encoder

if TYPE_CHECKING:
    from gguf import GGUFWriter

FILE = "model.gguf"
DOCUMENT = "zafu.document_token"  # the key of the token before which attention does not look
ROW = 32  # numbers of a row that share a scale
TYPES = {"f32": 0, "f16": 1, "q4_0": 2, "q8_0": 7, "bf16": 32}  # what most matrices of a file are
TEMPLATE = "{% for message in messages %}{{ message['content'] }}\n{% endfor %}"
LAYER = {
    "attn_norm": "input_layernorm",
    "attn_q": "self_attn.q_proj",
    "attn_k": "self_attn.k_proj",
    "attn_v": "self_attn.v_proj",
    "attn_output": "self_attn.o_proj",
    "attn_q_norm": "self_attn.q_norm",
    "attn_k_norm": "self_attn.k_norm",
    "ffn_norm": "post_attention_layernorm",
    "ffn_gate": "mlp.gate_proj",
    "ffn_up": "mlp.up_proj",
    "ffn_down": "mlp.down_proj",
}
CUTS = {  # the pattern by which text is cut into words -> llama.cpp's name of it
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}"
    r"| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+": "llama-bpe",
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}"
    r"| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+": "qwen2",
    "": "gpt-2",  # of the byte-level step itself
    encoder.PATTERN: "superbpe",  # which cuts less; of tokens of Python's sources 97 % are the same
}


def faults(source: Source, weights: str) -> Iterator[Fault]:
    """Why llama.cpp knows no such model."""
    module = source.module
    if not isinstance(module, Decoder):
        yield Fault("gguf", "a decoder, which llama.cpp calls llama or qwen3", "another module")
        return
    if not (source.fitted / encoder.FILE).is_file() or _pattern(source.fitted) not in CUTS:
        yield Fault("gguf", "a tokenizer of byte pairs that llama.cpp knows", "another")
    for name, layer in module.named_modules():
        if next(layer.children(), None) is not None:
            continue
        if type(layer) not in (nn.Linear, nn.Embedding, nn.RMSNorm):
            yield Fault(f"gguf: {name}", "a plain layer", type(layer).__name__)
        elif weights in ("q8_0", "q4_0") and _columns(layer) % ROW:
            expected = f"rows of a multiple of {ROW} numbers for {weights}"
            yield Fault(f"gguf: {name}", expected, str(_columns(layer)), hint="gguf:f16 takes any")


def write(source: Source, part: Path, weights: str) -> None:
    """Fill a folder with the file."""
    from gguf import GGUFWriter

    module = cast(Decoder, source.module)
    writer = GGUFWriter(part / FILE, "qwen3" if module.shape.qk_norm else "llama")
    _sizes(writer, module, weights)
    _tokenizer(writer, source.fitted, module.shape.vocab)
    for name, tensor in _named(module):
        _add(writer, name, tensor, weights)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def _sizes(writer: GGUFWriter, module: Decoder, weights: str) -> None:
    shape, blocks = module.shape, cast("list[Block]", list(module.model.layers))
    dim = shape.width // shape.heads
    writer.add_file_type(TYPES[weights])
    writer.add_vocab_size(shape.vocab)
    writer.add_context_length(shape.context + 1)  # with the token that is foretold
    writer.add_embedding_length(shape.width)
    writer.add_block_count(len(blocks))
    writer.add_layer_norm_rms_eps(shape.norm_eps)
    writer.add_rope_freq_base(shape.rope_base)
    for add in (writer.add_rope_dimension_count, writer.add_key_length, writer.add_value_length):
        add(dim)
    writer.add_head_count(_one([b.self_attn.q_proj.out_features // dim for b in blocks]))
    writer.add_head_count_kv(_one([b.self_attn.k_proj.out_features // dim for b in blocks]))
    writer.add_feed_forward_length(_one([b.mlp.up_proj.out_features for b in blocks]))
    if shape.end is not None:
        writer.add_uint32(DOCUMENT, shape.end)


def _one(sizes: list[int]) -> Any:
    """The size of all layers, or where they differ that of each."""
    return sizes[0] if len(set(sizes)) == 1 else sizes


def _tokenizer(writer: GGUFWriter, fitted: Path, size: int) -> None:
    """The same tokens under the same ids; a text begins with the token that ends documents."""
    plain = json.loads((fitted / encoder.FILE).read_text(encoding="utf-8"))
    special = {t["content"]: t["id"] for t in plain.get("added_tokens") or () if t["special"]}
    added = {t["content"]: t["id"] for t in plain.get("added_tokens") or ()}
    end = encoder.load(fitted).end
    tokens, kinds = [f"<unused {i}>" for i in range(size)], [5] * size  # 5: of no use
    for token, index in (plain["model"]["vocab"] | added).items():
        control = index == end or token in special
        tokens[index], kinds[index] = token, 3 if control else 4 if token in added else 1
    merges = [m if isinstance(m, str) else " ".join(m) for m in plain["model"]["merges"]]
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre(CUTS[_pattern(fitted) or ""])
    writer.add_token_list(tokens)
    writer.add_token_types(kinds)
    writer.add_token_merges(merges)
    writer.add_bos_token_id(end)
    writer.add_eos_token_id(end)
    writer.add_add_bos_token(True)
    writer.add_chat_template(TEMPLATE)


def _pattern(fitted: Path) -> str | None:
    """By which byte pairs are cut into words; None where they are not, or in several ways."""
    plain = json.loads((fitted / encoder.FILE).read_text(encoding="utf-8"))
    step = plain.get("pre_tokenizer") or {}
    steps = step.get("pretokenizers", [step])
    cuts = [one["pattern"].get("Regex") for one in steps if one.get("type") == "Split"]
    cuts += ["" for one in steps if one.get("type") == "ByteLevel" and one.get("use_regex", True)]
    return cuts[0] if plain["model"]["type"] == "BPE" and len(cuts) == 1 else None


def _named(module: Decoder) -> Iterator[tuple[str, np.ndarray]]:
    """Each tensor under llama.cpp's name."""
    held = {name: weight.detach().float().numpy() for name, weight in module.named_parameters()}
    yield "token_embd.weight", held["model.embed_tokens.weight"]
    yield "output_norm.weight", held["model.norm.weight"]
    if module.lm_head is not None:
        yield "output.weight", held["lm_head.weight"]
    dim = module.shape.width // module.shape.heads
    for index in range(len(module.model.layers)):
        for theirs, ours in LAYER.items():
            weight = held.get(f"model.layers.{index}.{ours}.weight")
            if weight is None:  # norms of heads
                continue
            if theirs in ("attn_q", "attn_k") and not module.shape.qk_norm:
                weight = neighbours(weight, dim)
            yield f"blk.{index}.{theirs}.weight", weight


def neighbours(weight: np.ndarray, dim: int) -> np.ndarray:
    """Rows of heads of so many dims, those that turn together beside each other."""
    halves = weight.reshape(-1, 2, dim // 2, weight.shape[1])
    return np.ascontiguousarray(halves.swapaxes(1, 2)).reshape(weight.shape)


def _add(writer: GGUFWriter, name: str, tensor: np.ndarray, weights: str) -> None:
    """Vectors keep 32 bits; beside 4 bits the embedding and the head keep 8."""
    from gguf import GGMLQuantizationType, quants

    if tensor.ndim == 1:
        writer.add_tensor(name, tensor)
        return
    if weights == "q4_0" and name in ("token_embd.weight", "output.weight"):
        weights = "q8_0"
    kind = GGMLQuantizationType[weights.upper()]
    writer.add_tensor(name, quants.quantize(tensor, kind), raw_dtype=kind)


def _columns(layer: nn.Module) -> int:
    weight = cast(Tensor, layer.weight)
    return weight.shape[1] if weight.dim() == 2 else ROW
