"""A model that is cut gives the answers of the whole, under the names of the whole."""

import re
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn

from zafu.errors import RecipeError, Refused
from zafu.layout import Layout
from zafu.nets import convnet, decoder, mlp, vit
from zafu.parallel.schedules import SINGLE, bubble, held, holder
from zafu.parallel.stages import cut, share, tied

SCHEDULES = ("gpipe", "1f1b", "interleaved", "zero-bubble", "dualpipe-v")


def a_decoder(**more: Any) -> nn.Module:
    sizes: dict[str, Any] = {"width": 16, "layers": 5, "heads": 2, "kv_heads": 2, "hidden": 32}
    return decoder.Decoder(decoder.Shape(vocab=11, context=8, **(sizes | more)))


def nets() -> dict[str, tuple[nn.Module, tuple[Tensor, ...]]]:
    torch.manual_seed(0)
    tokens, pixels = torch.randint(11, (2, 8)), torch.randn(2, 3, 8, 8)
    picture: dict[str, Any] = {"channels": 3, "picture": (8, 8), "width": 16, "outputs": 5}
    patches: dict[str, Any] = {**picture, "patch": 4, "layers": 3, "heads": 2, "hidden": 32}
    columns = mlp.Shape(numbers=4, embeddings=((7, 3),), width=8, layers=3, outputs=2)
    row = torch.randn(2, 4), torch.randint(7, (2, 1))
    bend = nn.ReLU()  # one module in two places
    chain = nn.Sequential(nn.Linear(4, 8), bend, nn.Linear(8, 8), bend, nn.Linear(8, 2))
    return {
        "decoder": (a_decoder(), (tokens,)),
        "tied decoder": (a_decoder(tied=True), (tokens,)),
        "vit": (vit.ViT(vit.Shape(**patches)), (pixels,)),
        "vit with a token": (vit.ViT(vit.Shape(**patches, pool="token")), (pixels,)),
        "convnet": (
            convnet.ConvNet(convnet.Shape(**picture, stages=2, blocks=2, groups=4)),
            (pixels,),
        ),
        "mlp": (mlp.MLP(columns), row),
        "sequential": (chain, row[:1]),
    }


def through(stages: list[nn.Module], inputs: tuple[Tensor, ...]) -> Tensor:
    x = stages[0](*inputs)
    for stage in stages[1:]:
        x = stage(x)
    return x


@pytest.mark.parametrize("count", [2, 3])
@pytest.mark.parametrize("name", nets())
def test_stages_in_turn_are_the_whole_to_the_bit(name: str, count: int) -> None:
    model, inputs = nets()[name]
    names = [name for name, _ in model.named_parameters()]

    stages = [cut(model, index, count) for index in range(count)]

    assert through(stages, inputs).equal(model(*inputs))
    found = [n for stage in stages for n, _ in stage.named_parameters()]
    copies = list(tied(stages[-1]))
    assert sorted(found) == sorted(names + copies)
    assert [name for name, _ in model.named_parameters()] == names  # which is as it was


def test_a_stage_has_the_parameters_of_the_whole_but_for_the_tied_copy() -> None:
    model = a_decoder(tied=True)
    whole = dict(model.named_parameters())

    stages = [cut(model, index, 2) for index in range(2)]

    assert all(p is whole[name] for name, p in stages[0].named_parameters())
    others = {name for name, p in stages[1].named_parameters() if p is not whole[name]}
    assert others == {"model.embed_tokens.weight"} == set(tied(stages[0])) == set(tied(stages[1]))


def test_a_stage_reads_its_state_when_the_whole_is_gone() -> None:
    model = a_decoder(tied=True)
    state = model.state_dict()
    stages = [cut(model, index, 2) for index in range(2)]
    del model

    for stage in stages:
        left = stage.load_state_dict(state, strict=False)

        assert not left.missing_keys


@pytest.mark.parametrize(
    ("model", "named"),
    [
        (a_decoder(end=0), "document"),
        (a_decoder(layers=1), "Decoder: expected at least 2 blocks"),
        (nn.Linear(2, 2), "Linear cannot be cut"),
        (nn.Sequential(nn.Linear(2, 2)), "found 1"),
        (nn.Sequential(*[nn.Linear(2, 2)] * 2), "shared by blocks of stages 0 and 1"),
    ],
)
def test_what_cannot_be_cut_is_refused_by_name(model: nn.Module, named: str) -> None:
    with pytest.raises(Refused, match=named):
        cut(model, 0, 2)


@given(st.integers(1, 9), st.integers(0, 40))
def test_shares_are_all_blocks_in_order(stages: int, blocks: int) -> None:
    shares = [share(index, stages, blocks) for index in range(stages)]

    assert [block for part in shares for block in part] == list(range(blocks))
    assert max(map(len, shares)) - min(map(len, shares)) <= 1


@pytest.mark.parametrize("schedule", SCHEDULES)
def test_each_stage_has_one_holder(schedule: Any) -> None:
    stages = Layout(pipeline=4, schedule=schedule).stages

    found = [holder(schedule, number, 4) for number in range(stages)]

    assert all(number in held(schedule, p, 4) for number, p in enumerate(found))
    assert sorted(found) == sorted(list(range(4)) * (stages // 4))


@pytest.mark.parametrize("schedule", SCHEDULES)
@pytest.mark.parametrize(("processes", "pieces"), [(2, 4), (4, 8), (4, 16)])
def test_idle_time_is_as_in_the_papers(schedule: Any, processes: int, pieces: int) -> None:
    """(p-1) / (chunks m + p-1) with backward passes that are not split; less where they are."""
    layout = Layout(pipeline=processes, schedule=schedule, microbatches=pieces)
    chunks = layout.stages // processes
    expected = (processes - 1) / (chunks * pieces + processes - 1)

    found = bubble(layout)

    if schedule in SINGLE or schedule == "interleaved":
        assert found == pytest.approx(expected)
    else:
        assert 0 < found < expected / 2


@given(st.sampled_from(SCHEDULES), st.integers(2, 5), st.integers(1, 40))
def test_micro_batches_that_cannot_be_ordered_are_refused_with_the_nearest(
    schedule: Any, processes: int, pieces: int
) -> None:
    """Parity: what is not refused here, torch orders, and what is refused, it does not."""
    told = {"pipeline": processes, "schedule": schedule}
    try:
        layout = Layout.parse({**told, "microbatches": pieces})
    except RecipeError as error:
        fault = error.faults[0]
        assert fault.path == "microbatches"
        for near in re.findall(r"\d+", fault.hint):
            assert Layout.parse({**told, "microbatches": int(near)})
        layout = Layout.model_construct(pipeline=processes, schedule=schedule, microbatches=pieces)
        if pieces >= layout.stages:
            with pytest.raises(Refused, match=r"layout\.microbatches"):
                bubble(layout)
    else:
        assert 0 < bubble(layout) < 1


@pytest.mark.parametrize("kind", ["LlamaForCausalLM", "Qwen3ForCausalLM"])
@pytest.mark.parametrize("both", [False, True])
def test_a_hub_model_is_cut_under_its_own_names(kind: str, both: bool) -> None:
    model = a_hub_model(kind, tie_word_embeddings=both)
    tokens = torch.randint(11, (2, 8))
    names = [name for name, _ in model.named_parameters()]

    stages = [cut(model, index, 3) for index in range(3)]

    assert through(stages, (tokens,)).equal(model(tokens))
    found = [n for stage in stages for n, _ in stage.named_parameters()]
    assert sorted(found) == sorted(names + list(tied(stages[-1])))
    assert bool(tied(stages[0])) == bool(tied(stages[-1])) == both


@pytest.mark.parametrize(
    ("kind", "more", "named"),
    [
        ("GPT2LMHeadModel", {}, "base_model_pp_plan"),
        ("GraniteForCausalLM", {"embedding_multiplier": 2.0}, "scales"),
    ],
)
def test_a_hub_model_that_cannot_be_cut_is_refused_by_name(
    kind: str, more: dict[str, Any], named: str
) -> None:
    model = a_hub_model(kind, **more)

    with pytest.raises(Refused, match=f"{kind} cannot be cut.*{named}"):
        cut(model, 0, 2)


def a_hub_model(kind: str, **more: Any) -> nn.Module:
    import transformers

    from zafu.nets.hub import adapt

    made = getattr(transformers, kind)
    sizes = {"hidden_size": 16, "num_hidden_layers": 4, "num_attention_heads": 2, "vocab_size": 11}
    more = {"num_key_value_heads": 2, "head_dim": 8, "intermediate_size": 32, **more}
    config = made.config_class(**sizes, **more, use_cache=False, bos_token_id=0, eos_token_id=0)
    torch.manual_seed(0)
    return adapt(made(config).eval(), outputs=10, context=8)
