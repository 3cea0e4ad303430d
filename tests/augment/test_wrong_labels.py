import numpy as np
import pytest
import torch
from sklearn.datasets import load_wine

from zafu.augment.mixup import MixUp
from zafu.augment.runtime.chain import Chain
from zafu.augment.runtime.labels import planted
from zafu.augment.wrong_labels import WrongLabels
from zafu.batch import Batch
from zafu.errors import Refused

WINE = load_wine()
X, Y = torch.from_numpy(WINE.data.astype(np.float32)), torch.from_numpy(WINE.target)


def read(ids: np.ndarray) -> Batch:
    at = torch.from_numpy(ids)
    none = torch.zeros((len(ids), 0), dtype=torch.int64)
    return Batch((X[at], none), Y[at].long(), ids)


def labels(*steps: WrongLabels | MixUp, epoch: int = 0, seed: int = 0) -> torch.Tensor:
    ids = np.arange(len(X))
    chain = Chain(steps, seed=seed, outputs=3, read=read, n=len(X))
    return chain(read(ids), np.full(len(ids), epoch)).targets


def test_about_the_share_is_wrong_and_each_of_these_is_another_class() -> None:
    found = labels(WrongLabels(share=0.4))

    wrong = found != Y
    assert 0.3 < wrong.float().mean() < 0.5
    assert (wrong.numpy() == planted(np.arange(len(X)), share=0.4, seed=0)).all()
    assert ((found >= 0) & (found < 3)).all()


def test_the_same_labels_are_wrong_in_every_epoch_and_for_every_seed_of_the_recipe() -> None:
    one = labels(WrongLabels(share=0.4))

    assert torch.equal(one, labels(WrongLabels(share=0.4), epoch=3, seed=9))
    assert not torch.equal(one, labels(WrongLabels(share=0.4, seed=1)))


def test_behind_what_mixes_classes_it_is_refused() -> None:
    with pytest.raises(Refused, match="before what mixes"):
        labels(MixUp(alpha=1.0), WrongLabels(share=0.4))
