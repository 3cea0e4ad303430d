"""Values of pixels and tokens: for models where they are known, and beside those of a peer."""

from typing import Literal

import numpy as np
import pytest
import torch
from explained import DIGITS, built, of, subject
from torch import nn
from torch.nn import functional

from zafu.errors import Refused
from zafu.explain.contract import Attribution
from zafu.explain.grad_cam import GradCAM
from zafu.explain.gradient_shap import GradientShap
from zafu.explain.gradient_x_input import GradientXInput
from zafu.explain.integrated_gradients import IntegratedGradients, quadrature
from zafu.explain.occlusion import Occlusion
from zafu.explain.rollout import Rollout
from zafu.explain.runtime.attention import attention, rolled
from zafu.explain.runtime.gradients import here, nothing, slopes
from zafu.explain.runtime.grids import laid_out
from zafu.explain.saliency import Saliency
from zafu.models.vit import ViT
from zafu.nets import vit
from zafu.signature import Pixels as PixelSignature
from zafu.signature import Signature


def linear() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Flatten(), nn.Linear(64, 10))


def test_integrated_gradients_of_a_linear_model_are_weight_times_difference() -> None:
    module, start = linear(), torch.full((1, 1, 8, 8), 0.25)
    one = subject(module, DIGITS[:1], baseline=(start,))

    found = IntegratedGradients().of(one)

    expected = module[1].weight[3].view(8, 8) * (DIGITS[0, 0] - 0.25)
    torch.testing.assert_close(found.values, expected.detach(), rtol=1e-5, atol=1e-6)
    assert found.how == "32 steps"


@pytest.mark.parametrize("name", ["convnet", "vit", "decoder"])
def test_integrated_gradients_add_up_within_a_hundredth(name: str) -> None:
    one = of(name)

    found = IntegratedGradients().of(one)

    ends = [slopes(one, at(one))[0].item() for at in (here, nothing)]
    assert found.missing is not None
    assert found.missing <= 0.01
    assert abs(found.values.sum().item() - (ends[0] - ends[1])) <= 0.0101 * max(
        abs(ends[0] - ends[1]), 0.01 * found.values.abs().sum().item()
    )


def test_a_quadrature_is_exact_for_polynomials_up_to_degree_15() -> None:
    places, weights = quadrature(0.25, 0.75)

    for power in range(16):
        exact = (0.75 ** (power + 1) - 0.25 ** (power + 1)) / (power + 1)
        assert (weights * places**power).sum() == pytest.approx(exact, rel=1e-12)


def test_a_token_is_worth_what_its_absence_costs() -> None:
    one = of("decoder")

    found = Occlusion().of(one).values

    own = one.said(*one.inputs)[0, 3]
    for at in range(5):
        rest = torch.cat([one.inputs[0][:, : at + 1], one.inputs[0][:, at + 2 :]], 1)
        torch.testing.assert_close(found[at], (own - one.said(rest)[0, 3]).detach())


def test_a_linear_model_in_tokens_has_gradient_times_input_equal_to_the_integral() -> None:
    class Bag(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.embed, self.head = nn.Embedding(32, 8), nn.Linear(8, 32)

        def forward(self, tokens: torch.Tensor) -> torch.Tensor:
            return self.head(self.embed(tokens).sum(1, keepdim=True))

    torch.manual_seed(0)
    one = subject(Bag(), torch.tensor([[0, 5, 9, 5]]))

    first, second = GradientXInput().of(one).values, IntegratedGradients().of(one).values

    torch.testing.assert_close(first, second, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(first[0], first[2])  # the same token twice


def test_what_attention_weighs_by_is_what_the_kernel_does() -> None:
    """Parity with the fused kernel: weights times values are what the layer adds."""
    one = of("vit")
    layer = next(m for m in one.network.modules() if isinstance(m, vit.Attention))
    seen: list[torch.Tensor] = []
    hook = layer.register_forward_hook(lambda _, args, out: seen.extend([args[0], out]))

    weights = attention(one)[0]

    hook.remove()
    v = layer.v_proj(seen[0]).unflatten(-1, (-1, layer.head_dim)).transpose(1, 2)[0]
    mixed = layer.o_proj((weights @ v).transpose(0, 1).flatten(1))
    torch.testing.assert_close(mixed, seen[1][0], rtol=1e-4, atol=1e-5)


def test_attention_of_a_decoder_looks_back_alone() -> None:
    for layer in attention(of("decoder")):
        assert torch.equal(layer, layer.tril())
        torch.testing.assert_close(layer.sum(-1), torch.ones(layer.shape[:2]))


def test_what_is_rolled_out_is_shares() -> None:
    flow = rolled(attention(of("vit")))

    torch.testing.assert_close(flow.sum(1), torch.ones(len(flow)))
    assert flow.min() >= 0


@pytest.mark.parametrize("method", [Saliency(), GradCAM(), Rollout()])
def test_maps_without_a_sign_have_none(method: Attribution) -> None:
    assert not method.signed
    assert method.of(of("vit")).values.min() >= 0


def test_grad_cam_of_one_channel_is_that_channel() -> None:
    module = built("convnet")
    one = subject(module, DIGITS[:1])
    block = module.blocks[-1]
    grid: list[torch.Tensor] = []
    hook = block.register_forward_hook(lambda _, __, x: grid.append(x))

    found = GradCAM().of(one)

    hook.remove()
    stream = grid[0].detach().requires_grad_()
    slope = torch.autograd.grad(module.leave(stream)[0, 3], stream)[0]
    cam = functional.relu((slope.mean((2, 3), keepdim=True) * stream).sum(1, keepdim=True))
    wide = functional.interpolate(cam, (8, 8), mode="bilinear", align_corners=False)[0, 0]
    torch.testing.assert_close(found.values, wide.detach(), rtol=1e-4, atol=1e-6)
    assert found.how == "a grid of 4 x 4"


@pytest.mark.filterwarnings("ignore")
def test_values_are_those_of_captum() -> None:
    captum = pytest.importorskip("captum.attr")
    module = built("vit")
    one = subject(module, DIGITS[:1])

    def ask(x: torch.Tensor) -> torch.Tensor:
        return module(x)[:, 3]

    peers = {
        Saliency(): captum.Saliency(ask).attribute(DIGITS[:1]),
        IntegratedGradients(within=1e-4): captum.IntegratedGradients(ask).attribute(
            DIGITS[:1], n_steps=256
        ),
        GradientShap(draws=4000): captum.GradientShap(ask).attribute(
            DIGITS[:1], baselines=DIGITS[32:], n_samples=4000
        ),
        Occlusion(window=1): captum.Occlusion(ask).attribute(DIGITS[:1], (1, 1, 1)),
    }
    for method, expected in peers.items():
        found = method.of(one).values
        scale = expected.abs().max().item()
        drawn = 0.1 if isinstance(method, GradientShap) else 2e-3  # both draw, each for itself
        torch.testing.assert_close(found, expected[0, 0].float(), rtol=1e-3, atol=drawn * scale)


def test_gradient_shap_of_a_linear_model_is_weight_times_difference_to_the_mean() -> None:
    module = linear()

    found = GradientShap(draws=4000).of(subject(module, DIGITS[:1])).values

    expected = module[1].weight[3].view(8, 8) * (DIGITS[0, 0] - DIGITS[32:].mean(0)[0])
    # drawn: 4,000 pictures leave a standard error of up to 0.001 in a pixel
    assert np.abs((found - expected.detach()).numpy()).max() < 0.005


@pytest.mark.parametrize("pool", ["mean", "token"])
def test_maps_of_tokens_lie_as_the_picture_does(pool: Literal["mean", "token"]) -> None:
    signature = Signature(inputs=PixelSignature(channels=1, height=4, width=12), outputs=10)
    torch.manual_seed(0)
    net = ViT(width=16, heads=2, layers=1, patch=2, pool=pool).build(signature).eval()
    wide = torch.cat([DIGITS[:1, :, :4], DIGITS[:1, :, 4:, :4]], 3)
    one = subject(net, wide, background=(wide[:0],))

    for method in (GradCAM(), Rollout()):
        found = method.of(one)
        assert found.values.shape == (4, 12)
        assert found.how == "a grid of 2 x 6"


def test_tokens_that_are_no_patches_are_refused() -> None:
    assert laid_out(16, (8, 8)) == (0, 4, 4)
    assert laid_out(17, (8, 8)) == (1, 4, 4)
    assert laid_out(13, (4, 12)) == (1, 2, 6)
    with pytest.raises(Refused, match="a token for each square patch of 8 x 8, found 15"):
        laid_out(15, (8, 8))
