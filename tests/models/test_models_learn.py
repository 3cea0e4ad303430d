"""Each model of pictures learns handwritten digits; the decoder learns a rule of tokens."""

import pytest
import torch
from sklearn.datasets import load_digits
from torch.nn import functional

from zafu.models.contract import Model
from zafu.models.convnet import ConvNet
from zafu.models.decoder import Decoder
from zafu.models.mlp import MLP
from zafu.models.vit import ViT
from zafu.signature import Pixels, Signature, Tokens

digits = Signature(inputs=Pixels(channels=1, height=8, width=8), outputs=10)


@pytest.mark.parametrize(
    ("model", "golden"),
    [
        (ViT(patch=4, width=32, layers=2, heads=2), 0.1452),
        (ConvNet(width=8, stages=2, blocks=1, groups=4), 0.1121),
        (MLP(width=64), 3.979e-4),
        (MLP(layers=0), 0.1896),
    ],
    ids=["vit", "convnet", "mlp", "linear"],
)
def test_200_digits_are_learned(model: Model, golden: float) -> None:
    """The golden number: the loss after 40 full-batch steps of AdamW at 1e-2, seed 0."""
    pixels, classes = load_digits(return_X_y=True)
    inputs = torch.tensor(pixels[:200] / 8 - 1, dtype=torch.float32).view(-1, 1, 8, 8)
    targets = torch.tensor(classes[:200])
    torch.manual_seed(0)
    module = model.build(digits)
    optimizer = torch.optim.AdamW(module.parameters(), lr=1e-2)

    for _ in range(40):
        optimizer.zero_grad()
        functional.cross_entropy(module(inputs), targets).backward()
        optimizer.step()

    logits = module(inputs)
    assert (logits.argmax(1) == targets).float().mean() > 0.9
    # another machine's sums round differently, and 40 steps multiply that
    assert functional.cross_entropy(logits, targets).item() == pytest.approx(golden, rel=0.05)


def test_the_decoder_learns_to_repeat_what_it_read() -> None:
    """A copy needs attention to a place, so that a model without positions could not do it."""
    signature = Signature(inputs=Tokens(vocab=8, context=12), outputs=8)
    torch.manual_seed(0)
    module = Decoder(width=64, layers=2, heads=2).build(signature)
    optimizer = torch.optim.AdamW(module.parameters(), lr=3e-3)

    for _ in range(300):
        half = torch.randint(8, (32, 6))
        tokens = torch.cat([half, half], 1)
        optimizer.zero_grad()
        logits = module(tokens[:, :-1])[:, 5:]  # the second half, which can be known
        loss = functional.cross_entropy(logits.flatten(0, 1), tokens[:, 6:].flatten())
        loss.backward()
        optimizer.step()

    assert loss.item() < 0.2  # knowing nothing costs ln 8 = 2.08; five seeds ended below 0.04
