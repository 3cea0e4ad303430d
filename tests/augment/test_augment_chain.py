"""Chains: what is merged, what is refused, and that threads change nothing."""

import subprocess
import sys

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.datasets import load_sample_images
from torch.nn.functional import avg_pool2d

from zafu.augment.blur import Blur
from zafu.augment.colors import Brightness, Contrast, Hue, Saturation
from zafu.augment.contract import Augmentation, keys
from zafu.augment.crops import Crop
from zafu.augment.flips import HorizontalFlip
from zafu.augment.geometry import Rotation, Scaling, Shear, Translation
from zafu.augment.mixup import MixUp
from zafu.augment.noise import Noise
from zafu.augment.runtime.chain import Chain
from zafu.augment.runtime.differentiable import differentiable
from zafu.augment.runtime.stages import Views
from zafu.batch import Batch

PHOTOGRAPHS = [torch.from_numpy(x.transpose(2, 0, 1).copy()) for x in load_sample_images().images]
TILES = torch.stack([x[:, i : i + 37, i : i + 43] for x in PHOTOGRAPHS for i in range(0, 300, 20)])
CLASSES = torch.arange(30) // 15
LONG: tuple[Augmentation, ...] = (
    Rotation(),
    Scaling(fill="zeros"),
    HorizontalFlip(),
    Shear(),
    Translation(),
    Brightness(),
    Contrast(probability=0.5),
    Saturation(),
    Hue(),
    Blur(),
    Noise(),
    Crop(),
    MixUp(probability=0.7),
)


def read(ids: np.ndarray) -> Batch:
    return Batch((TILES[ids],), CLASSES[ids], ids)


def chain(*steps: Augmentation, seed: int = 5) -> Chain:
    return Chain(steps, seed=seed, outputs=2, read=read, n=len(TILES))


@settings(deadline=None, max_examples=10)
@given(st.permutations(range(30)), st.integers(1, 29), st.integers(0, 100))
def test_a_long_chain_gives_each_sample_the_same_in_any_batch(
    order: list[int], cut: int, seed: int
) -> None:
    ids = np.array(order)
    epochs = ids % 3
    built = chain(*LONG, seed=seed)

    whole = built(read(ids), epochs)

    parts = [built(read(ids[p]), epochs[p]) for p in (slice(0, cut), slice(cut, 30))]
    assert torch.equal(torch.cat([p.inputs[0] for p in parts]), whole.inputs[0])
    assert torch.equal(torch.cat([p.targets for p in parts]), whole.targets)


def test_threads_change_nothing() -> None:
    ids, epochs = np.arange(30), np.zeros(30, np.int64)
    found = []
    before = torch.get_num_threads()

    for threads in (1, 2, 3):
        torch.set_num_threads(threads)
        found.append(chain(*LONG)(read(ids), epochs).inputs[0])
    torch.set_num_threads(before)

    assert torch.equal(found[0], found[1])
    assert torch.equal(found[0], found[2])


def test_neighbours_are_one_stage_and_give_what_they_give_one_by_one() -> None:
    # away from the edges, since what a step moves out of sight a merged one can bring back
    steps = (Rotation(degrees=8.0), Translation(share=0.02), Scaling(factor=1.05))
    colors = (Brightness(amount=0.1), Contrast(amount=0.1), Saturation(amount=0.1))
    merged = chain(*steps, *colors)
    ids, epochs = np.arange(30), np.zeros(30, np.int64)
    soft = Batch((avg_pool2d(TILES.float(), 9, 1, 4),), CLASSES, ids)
    assert len(merged._stages) == 1
    assert isinstance(merged._stages[0], Views)

    found = merged(soft, epochs).inputs[0]

    one_by_one = soft
    for index, step in enumerate((*steps, *colors)):
        alone = chain(*[Noise()] * index, step)
        stage = alone._stages[-1]
        one_by_one = stage(one_by_one, keys(5, ids, epochs), alone._scene(epochs, 0))
    apart = (found - one_by_one.inputs[0])[..., 8:-8, 8:-8].abs()
    assert apart.mean() < 1.5  # three times interpolated, and contrast's mean of the edges
    assert apart.max() < 16


def test_steps_that_fill_unlike_are_not_merged() -> None:
    built = chain(Rotation(fill="border"), HorizontalFlip(), Scaling(fill="zeros"))

    assert len(built._stages) == 2


def test_an_empty_chain_leaves_a_batch_as_it_is() -> None:
    batch = read(np.arange(4))

    assert chain()(batch, np.zeros(4, np.int64)) is batch


def test_gradients_reach_all_magnitudes_of_a_chain_at_once() -> None:
    steps = (Rotation(), Shear(), Brightness(), Hue(), Blur(), Noise(), MixUp())
    names = ("degrees", "degrees", "amount", "degrees", "sigma", "std", "alpha")
    magnitudes = {
        f"{i}.{name}": torch.tensor(0.1234567, requires_grad=True) for i, name in enumerate(names)
    }

    changed = differentiable(chain(*steps), magnitudes)(read(np.arange(8)), np.zeros(8, np.int64))
    changed.inputs[0].square().mean().backward()

    for tensor in magnitudes.values():
        assert tensor.grad is not None
        assert tensor.grad.isfinite()
        assert tensor.grad != 0


def test_a_rotation_is_found_by_its_gradient() -> None:
    ids, epochs = np.arange(4), np.zeros(4, np.int64)
    smooth = avg_pool2d(TILES[:4].float(), 9, 1, 4)  # a wide valley
    batch = Batch((smooth,), CLASSES[:4], ids)
    start = Chain([Rotation()], seed=5, outputs=2, read=lambda _: batch, n=4)
    wanted = differentiable(start, {"0.degrees": torch.tensor(9.7)})(batch, epochs).inputs[0]
    angle = torch.tensor(6.0, requires_grad=True)
    search = torch.optim.LBFGS([angle], max_iter=20, line_search_fn="strong_wolfe")

    def closure() -> torch.Tensor:
        found = differentiable(start, {"0.degrees": angle})(batch, epochs).inputs[0]
        search.zero_grad()
        loss = (found - wanted).square().mean()
        loss.backward()
        return loss

    search.step(closure)

    assert angle.item() == pytest.approx(9.7, abs=0.001)


def test_a_recipe_of_augmentations_is_checked_without_torch() -> None:
    code = (
        "import sys; from zafu.augment.contract import Augmentation; Augmentation.kinds();"
        "assert not {'torch', 'cv2', 'PIL', 'scipy'} & set(sys.modules)"
    )

    subprocess.run([sys.executable, "-c", code], check=True)
