"""Update: everything between a gradient and the next weights. Read `gradients`, then `step`."""

from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn

from zafu.errors import Damaged, RecipeError
from zafu.optim.averaging import Average
from zafu.optim.clashes import clashes
from zafu.optim.contract import Optimizer
from zafu.optim.gradient import Clip, Noise
from zafu.optim.penalties import Penalty
from zafu.optim.runtime import state
from zafu.optim.runtime.averaging import Averaging
from zafu.optim.runtime.gradients import add_noise, clip, norm
from zafu.optim.runtime.parameters import matching, names_of, parameter_groups
from zafu.optim.runtime.schedule_free import ScheduleFreeAdamW
from zafu.optim.schedules import Schedule


class Update:
    """Changes a model's weights by the gradients that they hold.

    Raises RecipeError where a pattern of names matches nothing, Refused where the optimizer cannot
    move this model.
    """

    def __init__(  # as many parameters as a recipe has keys for what happens here
        self,
        model: nn.Module,
        *,
        optimizer: Optimizer,
        schedule: Schedule,
        penalties: tuple[Penalty, ...] = (),
        clip: Clip | None = None,
        noise: Noise | None = None,
        average: Average | None = None,
        seed: int,
    ) -> None:
        if faults := [
            replace(f, path=f"fit.{f.path}") for f in clashes(optimizer, penalties, average)
        ]:
            raise RecipeError(faults)
        self._optimizer = optimizer
        self._schedule = schedule
        self._clip = clip
        self._noise = noise
        self._seed = seed
        self._optimizers = tuple(optimizer.build(parameter_groups(model, optimizer)))
        # (group, its learning rate before the schedule)
        self._rates = [(g, float(g["lr"])) for o in self._optimizers for g in o.param_groups]
        self._factor = 1.0
        names = names_of(model)
        self._parameters = [p for p in names if p.requires_grad]
        self._weights = [p for p in self._parameters if p.ndim >= 2]
        self._penalized = [
            (penalty, self._covered(names, penalty, path=f"fit.penalties.{index}.match"))
            for index, penalty in enumerate(penalties)
        ]
        self._averaging = Averaging(model, average) if average else None

    def gradients(self, step: int) -> Tensor:
        """In place: add penalties and noise to the gradients, and clip them.

        Their norm before clipping, a tensor without dims that may still be in the making. `step`
        counts from 0.
        """
        if self._penalized:
            with torch.no_grad():
                for penalty, parts in self._penalized:
                    for _, weights in parts:
                        moved = [w for w in weights if w.grad is not None]
                        penalty.add_gradients([*moved], _gradients(moved))
        gradients = _gradients(self._parameters)
        if self._noise:
            add_noise(gradients, self._noise.std(step), key=(self._seed, step))
        total = norm(gradients)
        if self._clip:
            clip(gradients, self._clip, total=total)
        return total

    def step(self, step: int, progress: float) -> float:
        """In place: move the weights, average them, and drop the gradients; the learning rate used.

        `progress` is the share of the budget that was spent before this step, 0 to 1.
        """
        factor = self._schedule.factor(progress)
        if factor != self._factor:
            for group, lr in self._rates:
                group["lr"] = lr * factor
            self._factor = factor
        for optimizer in self._optimizers:
            optimizer.step()
        if self._penalized:
            with torch.no_grad():
                for penalty, parts in self._penalized:
                    for group, weights in parts:
                        penalty.shrink([*weights], group["lr"])
        if self._averaging:
            self._averaging.add(step, progress)
        self.discard()
        return self._optimizer.lr * factor

    def discard(self) -> None:
        """In place: drop the gradients, as after a step that is not to be taken."""
        for parameter in self._parameters:
            parameter.grad = None

    @contextmanager
    def evaluating(self) -> Generator[None]:
        """Inside, the model holds the weights to be judged and shipped; then its own, exactly."""
        judged = self._judged()
        with torch.no_grad():
            kept = [own.detach().clone() for own in judged]
            for own, shown in judged.items():
                own.copy_(shown)
        try:
            yield
        finally:
            with torch.no_grad():
                for own, before in zip(judged, kept, strict=True):
                    own.copy_(before)

    def tensors(self) -> dict[str, Tensor]:
        """The tensors of the whole state by name, such as `optimizer.0.exp_avg.head.weight`.

        They are the live ones: write or copy them before the next step.
        """
        found = state.tensors(self._optimizers)
        return found | (self._averaging.tensors() if self._averaging else {})

    def plain(self) -> dict[str, Any]:
        """What else there is of the state, as plain data for JSON."""
        averaged = self._averaging.count if self._averaging else 0
        return {"unmoved": state.unmoved(self._optimizers), "averaged": averaged}

    def load(self, tensors: dict[str, Tensor], plain: dict[str, Any]) -> None:
        """Take on the state of an Update of the same rule and model, bit for bit.

        Raises Damaged that names each tensor that is missing, unexpected or of another shape; then
        nothing was changed.
        """
        if not isinstance(plain, dict) or plain.keys() != {"unmoved", "averaged"}:
            raise Damaged(
                f"state of the update: expected unmoved and averaged, found {plain!r:.200}"
            )
        unmoved, averaged = plain["unmoved"], plain["averaged"]
        named = isinstance(unmoved, list) and all(isinstance(name, str) for name in unmoved)
        if not named or type(averaged) is not int or averaged < 0:
            raise Damaged(f"state of the update: expected names and a count, found {plain!r:.200}")
        shapes = state.expected(self._optimizers, self._optimizer, unmoved=unmoved)
        if self._averaging and averaged:
            shapes |= self._averaging.shapes()
        state.compare(shapes, tensors)
        state.load(self._optimizers, self._optimizer, tensors=tensors)
        if self._averaging:
            self._averaging.load(tensors, averaged)

    def measurements(self) -> dict[str, float]:
        """The norm of all weights (not norms and biases), and the share of them that is 0."""
        weights = [w.detach() for w in self._weights]
        if not weights:
            return {}
        many = sum(w.numel() for w in weights)
        zeros = many - int(torch.stack([w.count_nonzero() for w in weights]).sum())
        return {"weight_norm": float(norm(weights)), "zero_share": zeros / many}

    def _judged(self) -> dict[Tensor, Tensor]:
        if self._averaging:
            return self._averaging.averages()
        judged: dict[Tensor, Tensor] = {}
        for optimizer in self._optimizers:
            if isinstance(optimizer, ScheduleFreeAdamW):
                judged |= optimizer.averages()
        return judged

    def _covered(
        self, names: dict[nn.Parameter, tuple[str, ...]], penalty: Penalty, *, path: str
    ) -> list[tuple[dict[str, Any], list[nn.Parameter]]]:
        """The weights that a penalty covers, by the group from which they have their lr."""
        large = {p: aliases for p, aliases in names.items() if p.ndim >= 2}
        chosen = set(matching(large, penalty.match, path=path))
        parts = [(group, [p for p in group["params"] if p in chosen]) for group, _ in self._rates]
        return [(group, weights) for group, weights in parts if weights]


def _gradients(parameters: list[nn.Parameter]) -> list[Tensor]:
    return [p.grad for p in parameters if p.grad is not None]
