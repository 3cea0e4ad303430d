"""The bank: questions that are asked of any recipe by their name.

Two of them compare techniques; the others are sentences of textbooks, each with the arms that would
show it and what they are expected to show. Words of an arm that a recipe has no place for (the
label smoothing of a regression) are left out, and arms of which nothing is left.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from zafu.compare.arms import Wanted, described
from zafu.compare.claims import Quantity, Statement
from zafu.compare.decide import Plan


@dataclass(frozen=True)
class Question:
    """What is compared, and what is claimed of it, if anything is."""

    says: str
    arms: tuple[str, ...]  # as `--arm` takes them
    statements: tuple[Statement, ...] = ()
    base: tuple[str, ...] = ()  # settings that all arms begin with
    length: float = 1.0  # factor on the recipe's budget
    trials: int = 20
    plan: Plan = field(default_factory=Plan)

    def wanted(self) -> list[Wanted]:
        """The arms."""
        return [described(text) for text in self.arms]


def _slower(quantity: Quantity, first: str, second: str, says: str) -> Statement:
    """The first arm takes more to come to the target than the second."""
    return Statement(says, quantity, {first: 1, second: -1})


QUICK = Plan(first=10, most=20)  # of a claim, which is answered in a minute or two
SGD, ADAM = "fit.optimizer.kind=sgd", "fit.optimizer.kind=adam"
WRONG = "data.wrong_labels={share: 0.4}"
PLAIN = (
    "fit.optimizer.weight_decay=0",
    "model.dropout=0",
    "task.label_smoothing=0",
    "fit.penalties=[]",
    "fit.augment=[]",
)

QUESTIONS: Mapping[str, Question] = {
    "optimizers": Question(
        "Which optimizer is better here?",
        (
            "adamw: fit.optimizer.kind=adamw",
            "adam: fit.optimizer.kind=adam",
            "rmsprop: fit.optimizer.kind=rmsprop",
            "sgd: fit.optimizer.kind=sgd",
            "nesterov: fit.optimizer.kind=sgd fit.optimizer.momentum=0.9 "
            "fit.optimizer.nesterov=true",
            "lion: fit.optimizer.kind=lion",
            "muon: fit.optimizer.kind=muon",
        ),
    ),
    "regularizers": Question(
        "Which regularizer is better here than none?",
        (
            "none:",
            "weight decay: fit.optimizer.weight_decay=?",
            "l2: fit.penalties=[{kind: l2}]",
            "l1: fit.penalties=[{kind: l1}]",
            "dropout: model.dropout=?",
            "label smoothing: task.label_smoothing=?",
            "mixup: fit.augment=[{kind: mixup}]",
        ),
        base=PLAIN,
    ),
    "sgd-is-slow": Question(
        "SGD is simple but slow.",
        (
            f"sgd: {SGD}",
            f"adam: {ADAM}",
            f"nesterov: {SGD} fit.optimizer.momentum=0.9 fit.optimizer.nesterov=true",
        ),
        (
            _slower("updates", "sgd", "adam", "sgd takes more updates to the target than adam"),
            _slower("updates", "sgd", "nesterov", "and than sgd with Nesterov's momentum"),
        ),
        trials=12,
        plan=QUICK,
    ),
    "full-batch-is-steady-but-costly": Question(
        "Full-batch gradient descent is steady but costly.",
        (f"mini-batches: {SGD} fit.batch=32", f"full batch: {SGD} fit.batch=all"),
        (
            Statement(
                "mini-batches wobble more at the end",
                "wobble",
                {"mini-batches": 1, "full batch": -1},
            ),
            _slower("samples", "full batch", "mini-batches", "the full batch needs more samples"),
        ),
        base=("fit.schedule=constant",),  # at the end of another one nothing moves any more
        length=2.0,
        trials=12,
        plan=QUICK,
    ),
    "adam-is-robust-to-noise": Question(
        "Adam is robust to noisy data.",
        (
            f"sgd: {SGD}",
            f"sgd, 40 % wrong: {SGD} {WRONG}",
            f"adam: {ADAM}",
            f"adam, 40 % wrong: {ADAM} {WRONG}",
        ),
        (
            Statement(
                "wrong labels cost sgd more than adam",
                "final",
                {"sgd": 1, "sgd, 40 % wrong": -1, "adam": -1, "adam, 40 % wrong": 1},
            ),
        ),
        trials=12,
        plan=QUICK,
    ),
    "rmsprop-accelerates": Question(
        "RMSprop accelerates convergence.",
        (
            f"sgd: {SGD}",
            "rmsprop: fit.optimizer.kind=rmsprop",
            f"nesterov: {SGD} fit.optimizer.momentum=0.9 fit.optimizer.nesterov=true",
        ),
        (
            _slower(
                "updates", "sgd", "rmsprop", "sgd takes more updates to the target than rmsprop"
            ),
        ),
        trials=12,
        plan=QUICK,
    ),
    "l1-gives-zeros": Question(
        "An L1 penalty gives weights that are exactly zero.",
        (
            "none: fit.penalties=[]",
            "proximal: fit.penalties=[{kind: l1, strength: 3e-3, method: proximal}]",
            "subgradient: fit.penalties=[{kind: l1, strength: 3e-3, method: subgradient}]",
        ),
        (
            Statement("a proximal step gives more than 10 % zeros", "zeros", {"proximal": 1}, 0.1),
            Statement("a subgradient gives them as well", "zeros", {"subgradient": 1}, 0.1),
        ),
        # a proximal step shrinks by lr * strength: that of an adaptive optimizer is far smaller
        base=("fit.optimizer.kind=sgd", "fit.optimizer.momentum=0.9"),
        trials=12,
        plan=QUICK,
    ),
    "dropout-reduces-over-fitting": Question(
        "Dropout reduces over-fitting and costs time.",
        ("none: model.dropout=0", "dropout: model.dropout=0.4"),
        (
            Statement(
                "the gap between training and test is smaller with dropout",
                "gap",
                {"none": 1, "dropout": -1},
            ),
            _slower("updates", "dropout", "none", "dropout needs more updates to the target"),
        ),
        base=("task.label_smoothing=0",),
        trials=12,
        plan=QUICK,
    ),
    "weight-decay-is-sensitive": Question(
        "The best weight decay must be met closely.",
        (
            "adamw 0.001: fit.optimizer.kind=adamw fit.optimizer.weight_decay=1e-3",
            "adamw 0.1: fit.optimizer.kind=adamw fit.optimizer.weight_decay=0.1",
            "adam + l2 0.001: fit.optimizer.kind=adam fit.optimizer.weight_decay=1e-3",
            "adam + l2 0.1: fit.optimizer.kind=adam fit.optimizer.weight_decay=0.1",
        ),
        (
            Statement(
                "adamw: a hundredfold weight decay moves the metric by more than 1 point",
                "final",
                {"adamw 0.001": 1, "adamw 0.1": -1},
                0.01,
                "apart",
            ),
            Statement(
                "adam with L2 in its gradient: the same",
                "final",
                {"adam + l2 0.001": 1, "adam + l2 0.1": -1},
                0.01,
                "apart",
            ),
        ),
        trials=12,
        plan=QUICK,
    ),
}
CLAIMS = tuple(name for name, question in QUESTIONS.items() if question.statements)
