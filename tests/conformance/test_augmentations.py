"""The exam of every augmentation, found by its kind, on real pictures, text and rows."""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import numpy as np
import pytest
import sklearn.datasets
import torch
from PIL import Image
from torch import Tensor

from zafu.augment.contract import Augmentation
from zafu.augment.runtime.chain import Chain
from zafu.augment.runtime.differentiable import differentiable
from zafu.batch import Batch
from zafu.errors import RecipeError, Refused
from zafu.spec import Spec

KINDS = Augmentation.kinds()
PICTURES = [kind for kind, technique in KINDS.items() if "pixels" in technique.takes]
MAGNITUDES = [(kind, name) for kind in KINDS for name in KINDS[kind].differentiable]
WORDS = "self, this\nreturn, give\nif, when\nthe, a, an\n"


class Steps(Spec):
    """As a recipe holds them."""

    augment: tuple[Augmentation, ...] = ()


@pytest.fixture(autouse=True)
def _one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="session")
def words(tmp_path_factory: pytest.TempPathFactory) -> str:
    file = tmp_path_factory.mktemp("words") / "synonyms.txt"
    file.write_text(WORDS)
    return str(file)


class Samples:
    """A split in memory."""

    def __init__(self, inputs: tuple[Tensor, ...], targets: Tensor, outputs: int) -> None:
        self.inputs, self.targets, self.outputs = inputs, targets, outputs
        self.vocabulary: tuple[str, ...] = ()

    def __len__(self) -> int:
        return len(self.targets)

    def read(self, ids: np.ndarray) -> Batch:
        at = torch.from_numpy(ids)
        return Batch(tuple(x[at] for x in self.inputs), self.targets[at], ids)

    def chain(self, *steps: Augmentation, seed: int = 7, backend: str = "torch") -> Chain:
        assert backend in ("torch", "opencv")
        return Chain(
            steps,
            seed=seed,
            outputs=self.outputs,
            read=self.read,
            n=len(self),
            backend="torch" if backend == "torch" else "opencv",
            vocabulary=self.vocabulary,
        )


@cache
def tiles(height: int = 29, width: int = 31) -> Samples:
    """Tiles of two photographs, of odd sides on purpose; classes are the photograph."""
    folder = Path(sklearn.datasets.__file__).parent / "images"
    found, classes = [], []
    for label, name in enumerate(("china.jpg", "flower.jpg")):
        picture = np.asarray(Image.open(folder / name)).transpose(2, 0, 1)
        for top in range(0, 427 - height, 96):
            for left in range(0, 640 - width, 96):
                found.append(picture[:, top : top + height, left : left + width])
                classes.append(label)
    return Samples((torch.from_numpy(np.stack(found)),), torch.tensor(classes), 2)


@cache
def windows() -> Samples:
    """Words and signs of a module of the standard library, 20 windows of 37."""
    text = Path(re.__file__).read_text()
    pieces = re.findall(r" ?[A-Za-z]+|[^A-Za-z]", text)
    vocabulary = tuple(sorted({*pieces, *re.findall(r"\w+", WORDS)}))
    ids = torch.tensor([vocabulary.index(piece) for piece in pieces[: 20 * 37 + 1]])
    inputs, targets = ids[:-1].view(20, 37), ids[1:].clone().view(20, 37)
    targets[0, :5] = -100
    samples = Samples((inputs,), targets, len(vocabulary))
    samples.vocabulary = vocabulary
    return samples


@cache
def rows() -> Samples:
    """Wines: quantities in standard deviations, a flag and a category; classes are the grower."""
    data = sklearn.datasets.load_wine()
    numbers = (data.data - data.data.mean(0)) / data.data.std(0)
    flag = (numbers[:, :1] > 1).astype(float)
    category = np.digitize(numbers[:, 1], [-1, 0, 1])[:, None]
    beside = torch.from_numpy(np.concatenate([numbers, flag], 1).astype(np.float32))
    return Samples((beside, torch.from_numpy(category)), torch.from_numpy(data.target), 3)


def samples_for(kind: str) -> Samples:
    """The first of pictures, tokens and columns that a kind takes."""
    takes = KINDS[kind].takes
    return tiles() if "pixels" in takes else windows() if "tokens" in takes else rows()


def build(kind: str, words: str, **settings: object) -> Augmentation:
    """A technique that falls on many samples, so that little of a batch is enough to see it."""
    needed: dict[str, object] = {"file": words, "share": 0.8} if kind == "synonyms" else {}
    return KINDS[kind].parse({"kind": kind, **needed, **settings})


def assert_same(found: Batch, expected: Batch) -> None:
    assert all(
        torch.equal(a, b) and a.dtype == b.dtype
        for a, b in zip(found.inputs, expected.inputs, strict=True)
    )
    assert torch.equal(found.targets, expected.targets)


def rearranged(batch: Batch, order: np.ndarray) -> Batch:
    at = torch.from_numpy(order)
    return Batch(tuple(x[at] for x in batch.inputs), batch.targets[at], batch.ids[order])


def joined(parts: list[Batch]) -> Batch:
    inputs = zip(*(part.inputs for part in parts), strict=True)
    targets = torch.cat([part.targets for part in parts])
    return Batch(tuple(map(torch.cat, inputs)), targets, np.concatenate([p.ids for p in parts]))


@pytest.mark.parametrize("kind", KINDS)
def test_an_augmentation_prints_and_parses_back(kind: str, words: str) -> None:
    step = build(kind, words)

    again = Steps.parse({"augment": [step.dump()]}).augment[0]

    assert again == step
    assert again.digest() == step.digest()


@pytest.mark.parametrize("kind", KINDS)
def test_a_share_of_samples_beyond_one_is_refused_with_its_path(kind: str, words: str) -> None:
    with pytest.raises(RecipeError) as caught:
        Steps.parse({"augment": [{**build(kind, words).dump(), "probability": 1.5}]})

    (fault,) = caught.value.faults
    assert (fault.path, fault.found) == ("augment.0.probability", "1.5")


@pytest.mark.parametrize("kind", KINDS)
def test_every_setting_says_what_it_is(kind: str) -> None:
    silent = [name for name, f in KINDS[kind].model_fields.items() if not f.description]

    assert silent == ["kind"]


@pytest.mark.parametrize("probability", [1.0, 0.5])
@pytest.mark.parametrize("kind", KINDS)
def test_a_sample_is_the_same_in_any_batch(kind: str, probability: float, words: str) -> None:
    split = samples_for(kind)
    chain = split.chain(build(kind, words, probability=probability))
    random = np.random.default_rng(1)
    ids = random.permutation(len(split))[:19]
    epochs = random.integers(0, 4, 19)
    order = random.permutation(19)
    whole = chain(split.read(ids), epochs)

    parts = [slice(0, 1), slice(1, 6), slice(6, 19)]
    mixed = joined([chain(split.read(ids[order][p]), epochs[order][p]) for p in parts])

    assert_same(mixed, rearranged(whole, order))


@pytest.mark.parametrize("kind", KINDS)
def test_epochs_and_seeds_differ_and_repeat(kind: str, words: str) -> None:
    split = samples_for(kind)
    step = build(kind, words)
    ids, first, second = np.arange(20), np.zeros(20, np.int64), np.ones(20, np.int64)
    found = split.chain(step)(split.read(ids), first)

    again = split.chain(step)(split.read(ids), first)
    later = split.chain(step)(split.read(ids), second)
    other = split.chain(step, seed=8)(split.read(ids), first)

    assert_same(again, found)
    for changed in (later, other):
        pairs = zip((*changed.inputs, changed.targets), (*found.inputs, found.targets), strict=True)
        assert not all(torch.equal(a, b) for a, b in pairs)


@pytest.mark.parametrize("kind", KINDS)
def test_the_raw_batch_stays_as_it_was(kind: str, words: str) -> None:
    split = samples_for(kind)
    batch = split.read(np.arange(20))
    before = split.read(np.arange(20))

    split.chain(build(kind, words))(batch, np.zeros(20, np.int64))

    assert_same(batch, before)


@pytest.mark.parametrize("kind", KINDS)
def test_shapes_stay_and_targets_are_classes_tokens_or_probabilities(kind: str, words: str) -> None:
    split = samples_for(kind)
    batch = split.read(np.arange(20))

    found = split.chain(build(kind, words))(batch, np.zeros(20, np.int64))

    assert [x.shape for x in found.inputs] == [x.shape for x in batch.inputs]
    if found.targets.is_floating_point():
        assert found.targets.shape == (20, split.outputs)
        assert torch.allclose(found.targets.sum(1), torch.ones(20))
    else:
        assert found.targets.shape == batch.targets.shape
    if found.inputs[0].ndim == 4:
        assert 0 <= found.inputs[0].min() <= found.inputs[0].max() <= 255
    elif found.inputs[0].dtype == torch.int64 and kind != "mixup":
        assert 0 <= found.inputs[0].min() <= found.inputs[0].max() < split.outputs


@pytest.mark.parametrize("kind", KINDS)
def test_other_samples_are_refused(kind: str, words: str) -> None:
    for other in (tiles(), windows(), rows()):
        if other is samples_for(kind) or (kind == "mixup" and other is rows()):
            continue

        with pytest.raises(Refused, match=kind):
            other.chain(build(kind, words))


@pytest.mark.parametrize("kind", PICTURES)
def test_gray_pictures_are_changed_too_or_refused(kind: str, words: str) -> None:
    pictures = tiles()
    gray = Samples((pictures.inputs[0][:, :1].clone(),), pictures.targets, 2)
    if KINDS[kind].colors:
        with pytest.raises(Refused, match="3 channels"):
            gray.chain(build(kind, words))
        return

    found = gray.chain(build(kind, words))(gray.read(np.arange(20)), np.zeros(20, np.int64))

    assert found.inputs[0].shape == (20, 1, 29, 31)
    assert not torch.equal(found.inputs[0].float(), gray.inputs[0][:20].float())


@pytest.mark.parametrize("kind", PICTURES)
def test_opencv_shows_what_torch_shows(kind: str, words: str) -> None:
    """But for the rounding of a map and of a tint to bytes, half a level each."""
    split, epochs = tiles(), np.zeros(20, np.int64)
    step = build(kind, words)

    by_opencv = split.chain(step, backend="opencv")(split.read(np.arange(20)), epochs)

    by_torch = split.chain(step)(split.read(np.arange(20)), epochs)
    assert torch.equal(by_opencv.targets, by_torch.targets)
    apart = (by_opencv.inputs[0].double() - by_torch.inputs[0].double()).abs()
    assert apart.mean() < 0.26
    assert apart.max() < 1.01


@pytest.mark.parametrize(("kind", "name"), MAGNITUDES)
def test_gradients_of_magnitudes_are_those_of_finite_differences(
    kind: str, name: str, words: str
) -> None:
    # pictures in float64 between 50 and 200, so that nothing is cut; no round magnitude, at which
    # a map could hit pixels exactly, where the bilinear function has a kink
    split = samples_for(kind)
    batch = split.read(np.arange(6))
    if "pixels" in KINDS[kind].takes:
        soft = tuple(50 + x.double() * (150 / 255) for x in split.inputs)
        split = Samples(soft, split.targets, split.outputs)
    else:
        split = Samples((split.inputs[0].double(), *split.inputs[1:]), split.targets, 3)
    batch = split.read(np.arange(6))
    default = float(build(kind, words).dump()[name])
    at = 0.6173205080756888 * default + (0.4 if name == "factor" else 0.0)
    if name == "std":
        at = 0.0123456789
    chain, epochs = split.chain(build(kind, words)), np.array([0, 1, 2, 3, 4, 5])
    weights = torch.randn(batch.inputs[0].shape, dtype=torch.float64)

    def total(magnitude: Tensor) -> Tensor:
        changed = differentiable(chain, {f"0.{name}": magnitude})(batch, epochs)
        return (changed.inputs[0] * weights).sum()

    magnitude = torch.tensor(at, dtype=torch.float64, requires_grad=True)
    (found,) = torch.autograd.grad(total(magnitude), magnitude)

    step = 1e-6 * at
    with torch.no_grad():
        ends = [total(torch.tensor(at + sign * step, dtype=torch.float64)) for sign in (1, -1)]
    expected = ((ends[0] - ends[1]) / (2 * step)).item()
    assert found.item() == pytest.approx(expected, rel=1e-4)


@pytest.mark.parametrize("kind", KINDS)
def test_what_has_no_gradient_says_so(kind: str, words: str) -> None:
    split = samples_for(kind)
    chain = split.chain(build(kind, words))
    fields = set(KINDS[kind].model_fields) - set(KINDS[kind].differentiable)

    for name in fields:
        with pytest.raises(RecipeError, match=f"0.{name}: expected one of"):
            differentiable(chain, {f"0.{name}": torch.tensor(0.1)})
