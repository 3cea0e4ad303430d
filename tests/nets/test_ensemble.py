"""How answers of several nets become one: by the rules of scikit-learn where it has them."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.ensemble import VotingClassifier

from zafu.errors import RecipeError
from zafu.models.convnet import ConvNet
from zafu.models.decoder import Decoder
from zafu.models.ensemble import Ensemble
from zafu.models.mlp import MLP
from zafu.nets.ensemble import Stack, hard, mean, soft
from zafu.nets.sampling import Choice, sample
from zafu.signature import Columns, Pixels, Signature, Tokens

digits = Signature(inputs=Pixels(channels=1, height=8, width=8), outputs=10)
text = Signature(inputs=Tokens(vocab=11, context=8), outputs=11)
table = Signature(inputs=Columns(numbers=3), outputs=2)
few = st.integers(1, 5)


class Said(ClassifierMixin, BaseEstimator):
    """Says what it was given, as a classifier of scikit-learn."""

    def __init__(self, shares: np.ndarray | None = None) -> None:
        self.shares = shares

    def fit(self, x: np.ndarray, y: np.ndarray) -> "Said":
        self.classes_ = np.unique(y)
        return self

    def predict_proba(self, x: np.ndarray) -> np.ndarray:
        assert self.shares is not None
        return self.shares[x[:, 0].astype(int)]

    def predict(self, x: np.ndarray) -> np.ndarray:
        return self.predict_proba(x).argmax(1)


def answers(members: int, samples: int, classes: int, seed: int) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    shape = (members, samples, classes)
    return torch.randn(shape, generator=generator, dtype=torch.float64) * 3


@settings(deadline=None, max_examples=30)
@given(members=few, classes=st.integers(2, 6), seed=st.integers(0, 99), way=st.sampled_from("sh"))
def test_votes_are_those_of_scikit_learn(members: int, classes: int, seed: int, way: str) -> None:
    logits = answers(members, 40, classes, seed)
    weights = np.random.default_rng(seed).integers(1, 4, members)
    shares = logits.softmax(-1).numpy()
    rows, labels = np.arange(40.0)[:, None], np.arange(40) % classes
    peer = VotingClassifier(
        [(str(i), Said(own)) for i, own in enumerate(shares)],
        voting="soft" if way == "s" else "hard",
        weights=weights.tolist(),
    ).fit(rows, labels)

    found = (soft if way == "s" else hard)(logits, (weights / weights.sum()).tolist())

    if way == "s":
        np.testing.assert_allclose(found.exp().numpy(), peer.predict_proba(rows), atol=1e-12)
    totals = np.array([np.bincount(p, weights, classes) for p in shares.argmax(-1).T])
    clear = (np.sort(totals, 1)[:, -1] > np.sort(totals, 1)[:, -2]) | (way == "s")
    assert (found.argmax(-1).numpy() == peer.predict(rows))[clear].all()


def test_a_tie_of_equal_votes_goes_to_the_first_class() -> None:
    logits = torch.tensor([[[0.0, 5.0, 1.0]], [[0.0, 1.0, 5.0]]])

    assert hard(logits, [0.5, 0.5]).argmax(-1).tolist() == [1]


@settings(deadline=None, max_examples=30)
@given(members=few, classes=st.integers(1, 6), seed=st.integers(0, 99))
def test_a_soft_vote_of_identical_members_is_the_member(
    members: int, classes: int, seed: int
) -> None:
    one = answers(1, 20, classes, seed)
    same = one.expand(members, -1, -1)

    found = soft(same, [1 / members] * members)

    torch.testing.assert_close(found, one[0].log_softmax(-1), rtol=0, atol=1e-12)


@pytest.mark.parametrize("join", [soft, hard])
def test_votes_are_logarithms_of_probabilities(join: object) -> None:
    found = join(answers(3, 50, 4, 0), [0.5, 0.3, 0.2])  # pyright: ignore

    torch.testing.assert_close(found.exp().sum(-1), torch.ones(50, dtype=torch.float64))
    assert found.isfinite().all()


def test_a_member_without_weight_does_not_count() -> None:
    logits = answers(3, 50, 4, 0)

    torch.testing.assert_close(soft(logits, [0.0, 1.0, 0.0]), logits[1].log_softmax(-1))
    torch.testing.assert_close(mean(logits, [0.0, 0.0, 1.0]), logits[2])


def test_a_stack_begins_as_the_plain_mean() -> None:
    logits = answers(3, 50, 4, 0).float()

    torch.testing.assert_close(Stack(3, 4)(logits), logits.mean(0))


@pytest.mark.parametrize("join", ["soft", "mean", "stack", "linear"])
@pytest.mark.parametrize(
    ("signature", "members"),
    [
        (digits, (MLP(width=8), ConvNet(width=8, stages=1, blocks=1))),
        (text, (Decoder(width=8, layers=1, heads=2), Decoder(width=16, layers=1, heads=2))),
        (table, (MLP(width=4), MLP(layers=0))),
    ],
    ids=["digits", "text", "table"],
)
def test_an_ensemble_is_built_counted_and_learns_as_any_model(
    signature: Signature, members: tuple[MLP, ...], join: str
) -> None:
    model = Ensemble.parse({"members": [m.dump() for m in members], "join": join})
    module = model.build(signature)
    inputs = {
        "pixels": (torch.randn(3, 1, 8, 8),),
        "tokens": (torch.randint(11, (3, 8)),),
        "columns": (torch.randn(3, 3), torch.empty(3, 0, dtype=torch.int64)),
    }[signature.inputs.kind]

    logits = module(*inputs)
    logits.square().sum().backward()

    assert not list(model.fits(signature))
    assert Ensemble.parse(model.dump()) == model
    assert model.parameter_count(signature) == sum(p.numel() for p in module.parameters())
    assert logits.shape[-1] == signature.outputs
    assert all(p.grad is not None for p in module.parameters())


def test_an_ensemble_of_decoders_continues_a_text() -> None:
    torch.manual_seed(0)
    small = Decoder(width=8, layers=1, heads=2)
    module = Ensemble(members=(small, small)).build(text).eval()

    found = list(sample(module, torch.tensor([1]), length=12, choice=Choice(temperature=0)))

    assert len(found) == 12  # beyond the window of 8


def test_what_cannot_be_joined_is_refused_with_all_faults() -> None:
    members = [{"kind": "mlp", "width": 0}, {"kind": "vit", "heads": 5}]

    with pytest.raises(RecipeError) as caught:
        Ensemble.parse({"members": members, "join": "stack", "weights": [0.0]})

    paths = {fault.path for fault in caught.value.faults}
    assert {"members.0.width", "members.1.heads"} <= paths
    with pytest.raises(RecipeError) as caught:
        Ensemble.parse({"members": ["mlp", "mlp"], "join": "stack", "weights": [0.0]})
    (fault,) = caught.value.faults
    assert fault.path == "weights"
    for part in ("null, as stack learns them", "2 numbers", "one at least > 0"):
        assert part in fault.expected


def test_a_member_that_does_not_take_the_data_is_named() -> None:
    model = Ensemble(members=(MLP(), Decoder()), join="hard")

    paths = [fault.path for fault in model.fits(digits)]

    assert paths == ["join", "members.1.kind"]


@pytest.mark.parametrize("join", ["soft", "hard", "stack"])
def test_numbers_have_no_probabilities_to_vote_with(join: str) -> None:
    inner = Ensemble.parse({"members": ["mlp"], "join": join})
    outer = Ensemble(members=(MLP(), inner), join="mean")

    (fault,) = outer.suits("regression")

    assert fault.path == "members.1.join"
    assert not list(outer.suits("classification"))
