import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from zafu.errors import RecipeError
from zafu.optim.gradient import Clip, Noise
from zafu.optim.runtime.gradients import add_noise, clip, norm
from zafu.pieces import Piece, pieces_of

shapes = st.lists(st.lists(st.integers(1, 9), max_size=3), min_size=1, max_size=5)


def some(shapes: list[list[int]], seed: int) -> list[Tensor]:
    random = torch.Generator().manual_seed(seed)
    return [torch.randn(shape, generator=random) for shape in shapes]


@settings(deadline=None, max_examples=25)
@given(shapes=shapes, seed=st.integers(0, 99))
def test_the_norm_is_torchs_to_the_bit(shapes: list[list[int]], seed: int) -> None:
    gradients = some(shapes, seed)

    assert torch.equal(norm(gradients), nn.utils.get_total_norm(gradients))


def test_the_norm_of_nothing_is_0() -> None:
    assert norm([]).item() == 0


@settings(deadline=None, max_examples=25)
@given(shapes=shapes, seed=st.integers(0, 99), bound=st.floats(0.01, 30))
def test_clipping_by_norm_is_torchs_to_the_bit(
    shapes: list[list[int]], seed: int, bound: float
) -> None:
    ours = some(shapes, seed)
    theirs = [nn.Parameter(torch.zeros_like(g)) for g in ours]
    for parameter, gradient in zip(theirs, ours, strict=True):
        parameter.grad = gradient.clone()
    nn.utils.clip_grad_norm_(theirs, bound)

    clip(ours, Clip(norm=bound), total=norm(ours))

    assert all(torch.equal(a, b.grad) for a, b in zip(ours, theirs, strict=True))
    assert norm(ours) <= bound * (1 + 1e-5)


def test_clipping_by_both_bounds_values_first_and_what_is_left_by_norm() -> None:
    gradients = [torch.tensor([3.0, -4.0]), torch.tensor([0.5])]

    clip(gradients, Clip(value=1.0, norm=0.75), total=norm(gradients))

    # (1, -1, 0.5) has the norm 1.5
    torch.testing.assert_close(gradients, [torch.tensor([0.5, -0.5]), torch.tensor([0.25])])


def test_a_gradient_that_is_not_finite_stays_so() -> None:
    gradients = [torch.tensor([float("nan"), 1.0])]

    clip(gradients, Clip(norm=1.0), total=norm(gradients))

    assert gradients[0].isnan().any()


def test_a_clip_without_a_bound_is_refused() -> None:
    with pytest.raises(RecipeError, match="expected norm or value, found neither"):
        Clip.parse({})


def noise(key: tuple[int, int], std: float = 1.0) -> Tensor:
    module = still(nn.utils.skip_init(nn.Linear, 50, 3))
    add_noise(pieces_of(module), std, key=key)
    return torch.cat([p.grad.flatten() for p in module.parameters() if p.grad is not None])


def still(module: nn.Module) -> nn.Module:
    """The same with gradients of 0."""
    for parameter in module.parameters():
        parameter.grad = torch.zeros_like(parameter)
    return module


def test_whoever_holds_a_piece_adds_the_noise_of_that_piece() -> None:
    whole = still(nn.Linear(6, 4))
    (weight, bias), gradients = pieces_of(whole), []
    for start in (0, 3):
        own = nn.Parameter(torch.zeros(3, 6)[: 4 - start])
        own.grad = torch.zeros_like(own)
        piece = Piece("weight", own, (4, 6), (start, 0), lambda: None)
        add_noise([piece], 0.5, key=(1, 2))
        gradients.append(own.grad)

    add_noise([weight, bias], 0.5, key=(1, 2))

    assert torch.equal(torch.cat(gradients), whole.weight.grad)


def test_noise_is_a_function_of_seed_and_step() -> None:
    again = noise((7, 3))
    torch.manual_seed(99)

    assert torch.equal(noise((7, 3)), again)
    assert not torch.equal(noise((7, 4)), again)
    assert not torch.equal(noise((8, 3)), again)
    assert not torch.equal(again[:50], again[50:100])


def test_noise_leaves_torchs_own_random_state_alone() -> None:
    before = torch.get_rng_state()

    noise((1, 1))

    assert torch.equal(torch.get_rng_state(), before)


@settings(deadline=None)
@given(step=st.integers(0, 10**7), eta=st.floats(0.001, 2), gamma=st.floats(0, 2))
def test_the_variance_of_noise_fades_as_in_its_paper(step: int, eta: float, gamma: float) -> None:
    variance = Noise(eta=eta, gamma=gamma).std(step) ** 2

    assert variance == pytest.approx(eta / (1 + step) ** gamma)


def test_noise_is_normal_with_this_deviation() -> None:
    module = still(nn.Linear(1000, 200, bias=False))

    add_noise(pieces_of(module), 0.3, key=(0, 0))

    gradients = [module.weight.grad]

    # four standard errors of a mean and of a deviation of 200,000 draws
    assert gradients[0].mean().item() == pytest.approx(0, abs=4 * 0.3 / 200_000**0.5)
    assert gradients[0].std().item() == pytest.approx(0.3, abs=4 * 0.3 / 400_000**0.5)
