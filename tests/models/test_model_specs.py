"""What a recipe may say of a model, and how many parameters that gives."""

import subprocess
import sys

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from zafu.errors import RecipeError
from zafu.models.contract import Model
from zafu.models.convnet import ConvNet
from zafu.models.decoder import Decoder
from zafu.models.heads import divisors
from zafu.models.mlp import MLP
from zafu.models.vit import ViT
from zafu.signature import Columns, Pixels, Signature, Tokens

small = st.integers(1, 4)
rates = st.sampled_from([0.0, 0.1])
text = Signature(inputs=Tokens(vocab=11, context=8), outputs=11)
digits = Signature(inputs=Pixels(channels=1, height=8, width=8), outputs=10)


@st.composite
def decoders(draw: st.DrawFn) -> Decoder:
    heads = draw(small)
    return Decoder(
        width=2 * heads * draw(small),
        layers=draw(small),
        heads=heads,
        kv_heads=draw(st.sampled_from([None, *divisors(heads)])),
        hidden=draw(st.none() | st.integers(1, 50)),
        qk_norm=draw(st.booleans()),
        tied=draw(st.booleans()),
        dropout=draw(rates),
        drop_path=draw(rates),
    )


@st.composite
def vits(draw: st.DrawFn) -> ViT:
    heads = draw(small)
    return ViT(
        patch=draw(st.sampled_from([1, 2, 4])),
        width=heads * draw(small),
        layers=draw(small),
        heads=heads,
        hidden=draw(st.none() | st.integers(1, 50)),
        pool=draw(st.sampled_from(["mean", "token"])),
        drop_path=draw(rates),
    )


convnets = st.builds(
    lambda groups, factor, stages, blocks: ConvNet(
        width=groups * factor, groups=groups, stages=stages, blocks=blocks
    ),
    *(small, small, small, small),
)
mlps = st.builds(MLP, width=st.integers(1, 20), layers=st.integers(0, 3), embedding=small)
tables = st.builds(
    lambda numbers, categories, outputs: Signature(
        inputs=Columns(numbers=numbers, categories=tuple(categories)), outputs=outputs
    ),
    *(st.integers(1, 5), st.lists(st.integers(1, 9), max_size=3), small),
)
pictures = st.builds(
    lambda channels, height, width, outputs: Signature(
        inputs=Pixels(channels=channels, height=4 * height, width=4 * width), outputs=outputs
    ),
    *(small, small, small, small),
)
pairs = st.one_of(
    st.tuples(decoders(), st.just(text)),
    st.tuples(vits() | convnets | mlps, pictures),
    st.tuples(mlps, tables),
)


def example(signature: Signature) -> tuple[torch.Tensor, ...]:
    """Three samples that fit a signature."""
    inputs = signature.inputs
    if isinstance(inputs, Tokens):
        return (torch.randint(inputs.vocab, (3, inputs.context)),)
    if isinstance(inputs, Pixels):
        return (torch.randn(3, inputs.channels, inputs.height, inputs.width),)
    categories = [torch.randint(n, (3, 1)) for n in inputs.categories]
    indices = torch.cat(categories, 1) if categories else torch.empty(3, 0, dtype=torch.int64)
    return torch.randn(3, inputs.numbers), indices


@settings(deadline=None, max_examples=50)
@given(pairs)
def test_the_formula_counts_the_parameters_of_the_module_that_is_built(
    pair: tuple[Model, Signature],
) -> None:
    model, signature = pair

    module = model.build(signature)

    assert not list(model.fits(signature))
    assert model.parameter_count(signature) == sum(p.numel() for p in module.parameters())


@settings(deadline=None, max_examples=25)
@given(pairs)
def test_a_module_answers_with_one_row_of_outputs_for_each_target(
    pair: tuple[Model, Signature],
) -> None:
    model, signature = pair
    inputs = example(signature)

    logits = model.build(signature)(*inputs)

    time = (signature.inputs.context,) if isinstance(signature.inputs, Tokens) else ()
    assert logits.shape == (3, *time, signature.outputs)
    assert logits.isfinite().all()


@settings(deadline=None, max_examples=25)
@given(decoders() | vits() | convnets | mlps)
def test_a_spec_comes_back_equal_from_its_plain_data(model: Model) -> None:
    assert type(model).parse(model.dump()) == model


@settings(deadline=None, max_examples=10)
@given(pairs, st.integers(0, 9))
def test_one_seed_gives_the_same_weights_to_the_bit(
    pair: tuple[Model, Signature], seed: int
) -> None:
    model, signature = pair

    twice = []
    for _ in range(2):
        torch.manual_seed(seed)
        twice.append(model.build(signature).state_dict())

    assert all(torch.equal(twice[0][name], twice[1][name]) for name in twice[0])


@pytest.mark.parametrize("side", [1, 2, 3, 5, 8, 33])
def test_a_convnet_takes_pictures_of_any_size(side: int) -> None:
    signature = Signature(inputs=Pixels(channels=3, height=side, width=side + 1), outputs=2)

    logits = ConvNet(width=4, groups=2, stages=5).build(signature)(*example(signature))

    assert logits.isfinite().all()


def test_a_convnet_halves_photographs_stage_by_stage() -> None:
    from zafu.nets.convnet import strides

    assert strides((224, 224), 6) == [1, 2, 2, 2, 2, 2]
    assert strides((8, 8), 5) == [1, 2, 2, 1, 1]


@pytest.mark.parametrize(
    ("model", "settings", "words"),
    [
        (Decoder, {"heads": 3}, ["heads", "256", "found 3", "nearest: 2 or 4"]),
        (Decoder, {"width": 12, "heads": 4}, ["an even whole number", "nearest: 3 or 6"]),
        (Decoder, {"width": 7, "heads": 7}, ["change the width"]),
        (Decoder, {"heads": 4, "kv_heads": 3}, ["kv_heads", "1, 2, 4", "found 3"]),
        (Decoder, {"dropout": 1.0}, ["dropout", "< 1"]),
        (Decoder, {"depth": 3}, ["depth", "no such key"]),
        (ViT, {"width": 64, "heads": 5}, ["heads", "a whole number", "nearest: 4 or 8"]),
        (ViT, {"pool": "max"}, ["pool", "mean", "token"]),
        (ConvNet, {"width": 12}, ["groups", "1, 2, 3, 4, 6, 12", "found 8"]),
        (MLP, {"activation": "tanh"}, ["activation", "relu"]),
    ],
)
def test_a_bad_setting_is_refused_with_what_would_do(
    model: type[Model], settings: dict[str, object], words: list[str]
) -> None:
    with pytest.raises(RecipeError) as refusal:
        model.parse({"kind": model.tag(), **settings})

    for word in words:
        assert word in str(refusal.value)


def test_patches_that_do_not_tile_the_picture_are_refused() -> None:
    signature = Signature(inputs=Pixels(channels=1, height=8, width=12), outputs=2)

    (fault,) = ViT(patch=3).fits(signature)

    assert str(fault) == "patch: expected a divisor of 8 x 12 pixels (1, 2, 4), found 3"


def test_a_decoder_answers_with_tokens_only() -> None:
    signature = Signature(inputs=Tokens(vocab=11, context=8), outputs=2)

    (fault,) = Decoder().fits(signature)

    assert "one output a token (11)" in str(fault)


def test_a_table_without_columns_is_refused() -> None:
    (fault,) = MLP().fits(Signature(inputs=Columns(numbers=0), outputs=2))

    assert "at least one input column" in str(fault)


@pytest.mark.parametrize(
    ("model", "signature"), [(Decoder(), digits), (ViT(), text), (MLP(), text)]
)
def test_data_of_another_kind_is_refused(model: Model, signature: Signature) -> None:
    with pytest.raises(RecipeError, match=f"takes {signature.inputs.kind}"):
        model.build(signature)


def test_models_are_found_checked_and_counted_without_torch() -> None:
    script = (
        "import sys\n"
        "from zafu.models.contract import Model\n"
        "from zafu.signature import Pixels, Signature, Tokens\n"
        "text = Signature(inputs=Tokens(vocab=11, context=8), outputs=11)\n"
        "picture = Signature(inputs=Pixels(channels=1, height=8, width=8), outputs=10)\n"
        "for name, kind in Model.kinds().items():\n"
        "    if name not in ('hub', 'ensemble', 'compressed'):\n"
        "        signature = text if 'tokens' in kind.takes else picture\n"
        "        model = kind()\n"
        "        assert not list(model.fits(signature)) and model.parameter_count(signature)\n"
        "loaded = {'torch', 'transformers', 'polars', 'sklearn'} & set(sys.modules)\n"
        "assert not loaded, loaded\n"
        "print(*Model.kinds())\n"
    )

    found = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)

    assert found.returncode == 0, found.stderr
    assert found.stdout.split() == [
        "compressed",
        "convnet",
        "decoder",
        "ensemble",
        "hub",
        "mlp",
        "vit",
    ]
