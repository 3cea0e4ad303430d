"""A decoder made ready to write answers as its module does, many texts at once."""

from copy import deepcopy
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from zafu.nets import factored, int4, int8
from zafu.nets.decoder import Decoder, Shape
from zafu.nets.decoding import Decoding
from zafu.nets.half import narrow
from zafu.nets.product import product
from zafu.nets.sparse import sparse
from zafu.nets.surgery import resize

CONTEXT = 24
SHAPES: list[dict[str, Any]] = [
    {},
    {"end": 3},
    {"qk_norm": True, "kv_heads": 4},
    {"tied": True, "kv_heads": 1},
]


def net(**more: Any) -> Decoder:
    """A small decoder whose logits differ much."""
    torch.manual_seed(0)
    sizes = {"width": 64, "layers": 2, "heads": 4, "kv_heads": 2, "hidden": 96}
    module = Decoder(Shape(**{"vocab": 32, "context": CONTEXT, **sizes, **more}))
    with torch.no_grad():
        for weight in module.parameters():
            weight.mul_(6) if weight.dim() > 1 else weight.mul_(1 + torch.rand_like(weight))
    return module.eval()


NETS = [net(**shape) for shape in SHAPES]


def whole(module: nn.Module, tokens: Tensor) -> Tensor:
    with torch.inference_mode():
        return module(tokens[None])[0]


def close(found: Tensor, expected: Tensor, tolerance: float = 1e-5) -> None:
    assert (found - expected).abs().max() <= tolerance * expected.abs().max()


@settings(deadline=None, max_examples=15)
@given(st.data())
def test_texts_in_slots_are_answered_as_each_alone(data: st.DataObject) -> None:
    """Read in pieces, in any slots, forgotten in part: always what the module says of the text."""
    module = data.draw(st.sampled_from(NETS))
    decoding, texts = Decoding(module, slots=3), [list[int]() for _ in range(3)]
    tokens = st.integers(0, 5)
    for _ in range(data.draw(st.integers(1, 8))):
        room = [slot for slot in range(3) if len(texts[slot]) < CONTEXT]
        slots = data.draw(st.lists(st.sampled_from(room), min_size=1, unique=True))
        if data.draw(st.booleans()):
            new = [data.draw(tokens) for _ in slots]
            found = decoding.step(slots, torch.tensor(new))
        else:
            slots, most = slots[:1], CONTEXT - len(texts[slots[0]])
            new = data.draw(st.lists(tokens, min_size=1, max_size=most))
            found = decoding.read(slots[0], torch.tensor(new))[None]
            new = [new]
        for slot, more in zip(slots, new, strict=True):
            texts[slot] += more if isinstance(more, list) else [more]
        for slot, logits in zip(slots, found, strict=True):
            close(logits, whole(module, torch.tensor(texts[slot]))[-1])
            assert decoding.length(slot) == len(texts[slot])
        keep = data.draw(st.integers(len(texts[slots[0]]) // 2, len(texts[slots[0]])))
        decoding.forget(slots[0], keep)
        del texts[slots[0]][keep:]
        if all(len(text) == CONTEXT for text in texts):
            break


@pytest.mark.parametrize("module", NETS, ids=[str(shape) for shape in SHAPES])
def test_logits_are_those_of_each_token(module: Decoder) -> None:
    tokens = torch.randint(0, 5, (CONTEXT,))
    decoding = Decoding(module)

    found = torch.cat([decoding.each(0, tokens[:9]), decoding.each(0, tokens[9:])])

    close(found, whole(module, tokens))


def few_bits(reads: int8.Reads) -> Decoder:
    module = net()
    for layer in module.model.layers:
        for owner in (layer.self_attn, layer.mlp):
            for name, child in list(owner.named_children()):
                made = int8.Int8Linear(child, reads)
                made.take(child.weight)
                setattr(owner, name, made)
    return module.eval()


def four_bits() -> Decoder:
    module = net()
    for layer in module.model.layers:
        for owner in (layer.self_attn, layer.mlp):
            for name, child in list(owner.named_children()):
                made, groups = int4.Int4Linear(child, 32), child.weight.unflatten(1, (-1, 32))
                grids = [int4.best_grid(groups[:, i]) for i in range(groups.shape[1])]
                scale, low = (torch.stack(part, 1) for part in zip(*grids, strict=True))
                levels = ((groups - low[..., None]) / scale[..., None]).round().clamp(0, 15)
                made.take(levels.flatten(1).to(torch.uint8), scale, low)
                setattr(owner, name, made)
    return module


def of_low_rank() -> Decoder:
    module = net()
    layer = module.model.layers[0]
    for owner, name in ((layer.self_attn, "q_proj"), (layer.mlp, "up_proj")):
        setattr(owner, name, factored.linear(getattr(owner, name), 8))
    return module


def thinner() -> Decoder:
    """Fewer heads in one layer, fewer hidden units in the other, and single weights gone."""
    module = net()
    first, second = "model.layers.0.self_attn", "model.layers.1.mlp"
    shapes = {f"{first}.q_proj.weight": (32, 64), f"{first}.o_proj.weight": (64, 32)}
    shapes |= {f"{first}.{name}_proj.weight": (16, 64) for name in "kv"}
    shapes |= {f"{second}.{name}_proj.weight": (40, 64) for name in ("gate", "up")}
    resize(module, {**shapes, f"{second}.down_proj.weight": (64, 40)})
    with torch.no_grad():
        for name in shapes | {f"{second}.down_proj.weight": ()}:
            nn.init.normal_(module.get_parameter(name), std=0.1)
    gate = module.model.layers[0].mlp.gate_proj
    with torch.no_grad():
        gate.weight.mul_(torch.rand_like(gate.weight) > 0.5)
    module.model.layers[0].mlp.gate_proj = sparse(gate)
    return module.eval()


def in_bf16() -> Decoder:
    module = net()
    narrow(module, "bf16")
    return module


@pytest.mark.parametrize(
    ("module", "tolerance"),
    [
        pytest.param(thinner(), 1e-5, id="thinner"),
        pytest.param(of_low_rank(), 1e-5, id="low rank"),
        pytest.param(few_bits("float"), 0.03, id="int8, rows in bf16"),
        pytest.param(few_bits("dynamic"), 0.03, id="int8"),  # rows round to other neighbours
        pytest.param(four_bits(), 0.03, id="int4, rows in bf16"),
        pytest.param(in_bf16(), 0.03, id="bf16"),
    ],
)
def test_compressed_decoders_answer_as_before(module: Decoder, tolerance: float) -> None:
    tokens = torch.randint(0, 32, (CONTEXT,))
    decoding = Decoding(module, slots=2)

    first = decoding.each(0, tokens[:10])
    steps = [decoding.step([0], token[None])[0] for token in tokens[10:]]

    close(torch.cat([first, torch.stack(steps)]), whole(module, tokens), tolerance)


def test_layers_of_few_bits_are_put_side_by_side_exactly() -> None:
    layers = [few_bits("float").model.layers[0].self_attn.get_submodule(f"{n}_proj") for n in "qkv"]
    rows, order = torch.randn(3, 64), torch.randperm(64 + 32 + 32)

    found = product(layers, order=order)(rows)

    assert torch.equal(found, torch.cat([layer(rows) for layer in layers], 1)[:, order])


def test_weights_are_those_of_the_time_when_it_was_made() -> None:
    module, tokens = deepcopy(NETS[0]), torch.arange(5)
    decoding, before = Decoding(module), whole(module, tokens)
    with torch.no_grad():
        module.model.layers[0].mlp.up_proj.weight.zero_()

    close(decoding.each(0, tokens), before)
    close(Decoding(module).each(0, tokens), whole(module, tokens))


def test_more_than_the_context_is_refused() -> None:
    decoding = Decoding(NETS[0], slots=2)
    decoding.read(0, torch.arange(CONTEXT))

    with pytest.raises(ValueError, match=rf"at most {CONTEXT} tokens .*\(0, {CONTEXT}, 1\)"):
        decoding.step([1, 0], torch.tensor([1, 1]))
    with pytest.raises(ValueError, match="different slots"):
        decoding.step([1, 1], torch.tensor([1, 1]))
    with pytest.raises(ValueError, match="keep: expected 0 to 0, found 1"):
        decoding.forget(1, keep=1)

    assert decoding.length(1) == 0
