"""What holds for every net: dropout is for training only, and recomputing changes no gradient."""

import copy

import pytest
import torch
from torch import nn

from zafu.nets import convnet, decoder, mlp, vit

text = torch.arange(24).view(3, 8) % 7
picture = torch.linspace(-1, 1, 3 * 64).view(3, 1, 8, 8)


def nets() -> list[tuple[nn.Module, torch.Tensor]]:
    """Each net with dropout, and an input for it."""
    torch.manual_seed(0)
    return [
        (
            decoder.Decoder(
                decoder.Shape(
                    vocab=7,
                    context=8,
                    width=16,
                    layers=3,
                    heads=4,
                    kv_heads=2,
                    hidden=32,
                    qk_norm=True,
                    dropout=0.2,
                    drop_path=0.4,
                )
            ),
            text,
        ),
        (
            vit.ViT(
                vit.Shape(
                    channels=1,
                    picture=(8, 8),
                    patch=2,
                    width=16,
                    layers=3,
                    heads=4,
                    hidden=32,
                    outputs=5,
                    pool="token",
                    dropout=0.2,
                    drop_path=0.4,
                )
            ),
            picture,
        ),
        (
            convnet.ConvNet(
                convnet.Shape(
                    channels=1,
                    picture=(8, 8),
                    width=8,
                    stages=3,
                    blocks=2,
                    groups=4,
                    outputs=5,
                    dropout=0.2,
                    drop_path=0.4,
                )
            ),
            picture,
        ),
        (
            mlp.MLP(
                mlp.Shape(numbers=64, embeddings=(), width=16, layers=2, outputs=5, dropout=0.2)
            ),
            picture,
        ),
    ]


@pytest.mark.parametrize("index", range(4))
def test_dropout_is_drawn_in_training_and_off_in_evaluation(index: int) -> None:
    net, inputs = nets()[index]

    noisy = [net(inputs) for _ in range(2)]
    net.eval()
    still = [net(inputs) for _ in range(2)]

    assert not torch.equal(noisy[0], noisy[1])
    assert torch.equal(still[0], still[1])


@pytest.mark.parametrize("index", range(4))
def test_recomputing_gives_the_same_gradients_to_the_bit(index: int) -> None:
    stored, inputs = nets()[index]
    again = copy.deepcopy(stored)
    again.recompute = True

    for net in (stored, again):
        torch.manual_seed(1)  # the same dropout
        net(inputs).square().sum().backward()

    for one, other in zip(stored.parameters(), again.parameters(), strict=True):
        assert one.grad is not None
        assert other.grad is not None
        assert torch.equal(one.grad, other.grad)


@pytest.mark.parametrize("index", range(4))
def test_recomputing_stores_fewer_activations(index: int) -> None:
    net, inputs = nets()[index]
    sizes: dict[bool, int] = {}

    for recompute in (False, True):
        net.recompute = recompute
        kept: list[int] = []

        def pack(tensor: torch.Tensor, kept: list[int] = kept) -> torch.Tensor:
            kept.append(tensor.numel())
            return tensor

        with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
            net(inputs)
        sizes[recompute] = sum(kept)

    assert sizes[True] < sizes[False] / 1.5


@pytest.mark.parametrize("index", range(4))
def test_a_net_built_without_memory_is_initialized_in_place(index: int) -> None:
    with torch.device("meta"):
        net, inputs = nets()[index]

    net = net.to_empty(device="cpu")
    net.initialize()

    assert net.eval()(inputs).isfinite().all()


@pytest.mark.parametrize("std", [0.02, 0.1])
def test_branch_outputs_of_deep_decoders_start_smaller(std: float) -> None:
    torch.manual_seed(0)
    sizes = {"vocab": 64, "context": 8, "width": 128, "layers": 8, "heads": 4, "kv_heads": 4}
    shape = decoder.Shape(**sizes, hidden=256, init_std=std)
    state = decoder.Decoder(shape).state_dict()

    stds = {name.split(".")[-2]: weight.std().item() for name, weight in state.items()}

    assert stds["q_proj"] == pytest.approx(std, rel=0.05)
    assert stds["o_proj"] == pytest.approx(std / 4, rel=0.05)
    assert stds["down_proj"] == pytest.approx(std / 4, rel=0.05)
