"""Update: everything between a gradient and the next weights. Read `gradients`, then `step`."""

from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn

from zafu.errors import Damaged, Fault, RecipeError
from zafu.nets.matrices import chosen
from zafu.optim.averaging import Average
from zafu.optim.clashes import clashes
from zafu.optim.contract import Optimizer
from zafu.optim.gradient import Clip, Noise
from zafu.optim.penalties import Penalty
from zafu.optim.rate import Auto
from zafu.optim.runtime import state
from zafu.optim.runtime.averaging import Averaging
from zafu.optim.runtime.gradients import add_noise, clip, norm, squared_norm
from zafu.optim.runtime.parameters import matching, names_of, parameter_groups
from zafu.optim.runtime.rate import Rate, agreement
from zafu.optim.runtime.schedule_free import ScheduleFreeAdamW
from zafu.optim.runtime.thinning import Thinning
from zafu.optim.schedules import Schedule
from zafu.optim.sparsity import Sparsity
from zafu.pieces import Held, Piece, held_by


class Update:
    """Changes a model's weights by the gradients that they hold.

    `held` is what this process has of the weights, by default all. `model` then gives names and
    roles alone, and may be without memory. Raises RecipeError where a pattern of names matches
    nothing, Refused where the optimizer cannot move this model.
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
        sparsity: Sparsity | None = None,
        seed: int,
        held: Held | None = None,
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
        groups = parameter_groups(model, optimizer)
        names = names_of(model)
        self._pieces, buffers, self._add, _, self._changed = held or held_by(model)
        here = {piece.name: piece for piece in self._pieces}
        own = {p: here[aliases[0]].own for p, aliases in names.items() if aliases[0] in here}
        for group in groups:  # with nothing for what others hold: groups are the same everywhere
            group["params"] = [
                (n, here[n].own if n in here else _nothing(p, self._pieces[0].own.device))
                for n, p in group["params"]
            ]
        self._optimizers = tuple(optimizer.build(groups))
        # (group, its learning rate before the schedule)
        self._rates = [(g, float(g["lr"])) for o in self._optimizers for g in o.param_groups]
        self._factor = 1.0
        self._rate = Rate(optimizer.lr) if isinstance(optimizer.lr, Auto) else None
        self._trained = [here[a[0]] for p, a in names.items() if p in own and p.requires_grad]
        self._apart = self._trained if held else []  # where a gradient must be fetched first
        self._weights = [piece for piece in self._trained if len(piece.shape) >= 2]
        self._penalized = [
            (penalty, self._covered(names, own, penalty, path=f"fit.penalties.{index}.match"))
            for index, penalty in enumerate(penalties)
        ]
        averaged = {piece.name: piece.own for piece in self._pieces if piece.own.numel()}
        averaged |= {name: b for name, b in buffers.items() if b.is_floating_point()}
        self._averaging = Averaging(averaged, average) if average else None
        self._thinning = Thinning(sparsity, _thinned(model, own, sparsity)) if sparsity else None

    def gradients(self, step: int) -> Tensor:
        """In place: add penalties and noise to the gradients, and clip them.

        Their norm before clipping, a tensor without dims that may still be in the making. `step`
        counts from 0.
        """
        for piece in self._apart:
            gradient = piece.gradient()
            piece.own.grad = gradient if piece.own.numel() else None
        if self._penalized:
            with torch.no_grad():
                for penalty, parts in self._penalized:
                    for _, weights in parts:
                        moved = [w for w in weights if w.grad is not None]
                        if moved:  # all of a tensor's gradient may be with another process
                            penalty.add_gradients([*moved], _gradients(moved))
        moved = [piece for piece in self._trained if piece.own.grad is not None]
        gradients = _gradients([piece.own for piece in moved])
        if self._noise:
            add_noise(moved, self._noise.std(step), key=(self._seed, step))
        if self._thinning:
            self._thinning.gradients()
        total = self._norm(moved, gradients)
        if self._clip:
            clip(gradients, self._clip, total=total, norm=lambda g: self._norm(moved, g))
        return total

    def step(self, step: int, progress: float) -> float:
        """In place: move the weights and average them, drop the gradients; the learning rate used.

        `progress` is the share of the budget that was spent before this step, 0 to 1.
        """
        lr = self._set_rates(progress)
        if self._thinning:
            self._thinning.hears()
        for optimizer in self._optimizers:
            optimizer.step()
        if self._penalized:
            with torch.no_grad():
                for penalty, parts in self._penalized:
                    for group, weights in parts:
                        penalty.shrink([*weights], group["lr"])
        if self._thinning:
            self._thinning.step(step, progress)
        if self._averaging:
            self._averaging.add(step, progress)
        self._changed()
        self.discard()
        return lr

    def discard(self) -> None:
        """In place: drop the gradients, as after a step that is not to be taken."""
        for piece in self._trained:
            piece.own.grad = None

    @contextmanager
    def evaluating(self) -> Generator[None]:
        """Inside, the model holds the weights to be judged and shipped; then its own, exactly."""
        judged = self._judged()
        with torch.no_grad():
            kept = [own.detach().clone() for own in judged]
            for own, shown in judged.items():
                own.copy_(shown)
        if self._thinning:  # a mean knows of times when weights were not yet gone
            self._thinning.keep()
        self._changed()
        try:
            yield
        finally:
            with torch.no_grad():
                for own, before in zip(judged, kept, strict=True):
                    own.copy_(before)
            self._changed()

    def tensors(self) -> dict[str, Tensor]:
        """The tensors of the whole state by name, such as `optimizer.0.exp_avg.head.weight`.

        They are the live ones: write or copy them before the next step.
        """
        found = state.tensors(self._optimizers)
        for part in (self._averaging, self._thinning):
            found |= part.tensors() if part else {}
        return found

    def piece(self, name: str) -> Piece | None:
        """The piece to which a tensor of the state belongs, by its name; None: it is not here."""
        own = name.split(".", 3)[3] if name.startswith("optimizer.") else name.partition(".")[2]
        return next((piece for piece in self._pieces if piece.name == own), None)

    def plain(self) -> dict[str, Any]:
        """What else there is of the state, as plain data for JSON."""
        averaged = self._averaging.count if self._averaging else 0
        found = {"unmoved": state.unmoved(self._optimizers), "averaged": averaged}
        return found | ({"lr": self._rate.plain()} if self._rate else {})

    def shows(self, name: str) -> bool:
        """Whether a tensor of the state decides which weights are judged and shipped."""
        if self._averaging:
            return name.startswith(("average.", "sparsity."))
        return any(isinstance(optimizer, ScheduleFreeAdamW) for optimizer in self._optimizers)

    def load(self, tensors: dict[str, Tensor], plain: dict[str, Any]) -> None:
        """Take on the state of an Update of the same rule and model, bit for bit.

        Raises Damaged that names each tensor that is missing, unexpected or of another shape; then
        nothing was changed.
        """
        self._load(tensors, plain, lambda _: True)

    def load_shown(self, tensors: dict[str, Tensor], plain: dict[str, Any]) -> None:
        """As `load`, of what `shows` names alone: then it can judge and ship, but not go on."""
        self._load(tensors, plain, self.shows)

    def _load(
        self, tensors: dict[str, Tensor], plain: dict[str, Any], wanted: Callable[[str], bool]
    ) -> None:
        keys = {"unmoved", "averaged"} | ({"lr"} if self._rate else set())
        if not isinstance(plain, dict) or plain.keys() != keys:
            needed = " and ".join(sorted(keys, reverse=True))
            raise Damaged(f"state of the update: expected {needed}, found {plain!r:.200}")
        unmoved, averaged = plain["unmoved"], plain["averaged"]
        named = isinstance(unmoved, list) and all(isinstance(name, str) for name in unmoved)
        if not named or type(averaged) is not int or averaged < 0:
            raise Damaged(f"state of the update: expected names and a count, found {plain!r:.200}")
        shapes = state.expected(self._optimizers, self._optimizer, unmoved=unmoved)
        if self._averaging and averaged:
            shapes |= self._averaging.shapes()
        if self._thinning:
            shapes |= self._thinning.shapes()
        state.compare({name: shapes[name] for name in shapes if wanted(name)}, tensors)
        if self._rate:
            self._rate.load(plain["lr"])
        state.load(self._optimizers, self._optimizer, tensors=tensors)
        if self._averaging:
            self._averaging.load(tensors, averaged)
        if self._thinning:
            self._thinning.load(tensors)

    def measurements(self) -> dict[str, float]:
        """The norm of all weights (not norms and biases), and the share of them that is 0."""
        weights = [piece.own.detach() for piece in self._weights]
        zeros, many = self._counted(self._weights, weights)
        if not many:  # on no rank: one with nothing but frozen weights takes part in the sums
            return {}
        return {
            "weight_norm": float(self._norm(self._weights, weights)),
            "zero_share": zeros / many,
        }

    def _set_rates(self, progress: float) -> float:
        """In place: give each group the learning rate of this step; the one before `lr_scale`."""
        factor = self._schedule.factor(progress)
        lr = self._optimizer.start
        if self._rate:
            shares = {piece.own: piece.share for piece in self._pieces}
            self._rate.hears(agreement(self._optimizers, shares, self._add))
            lr = self._rate.lr
            self._rates = [(group, lr * group["lr_scale"]) for group, _ in self._rates]
        if self._rate or factor != self._factor:
            for group, own in self._rates:
                group["lr"] = own * factor
            self._factor = factor
        return lr * factor

    def _norm(self, pieces: list[Piece], tensors: list[Tensor]) -> Tensor:
        """The norm of all that the pieces are pieces of, for tensors that lie as they do."""
        if self._add is None:
            return norm(tensors)
        squares = squared_norm(tensors, [piece.share for piece in pieces], like=self._pieces[0].own)
        return self._add(squares).sqrt().float()

    def _counted(self, pieces: list[Piece], tensors: list[Tensor]) -> tuple[float, float]:
        """How many numbers of all are 0, and how many there are."""
        shares = [(piece.share, tensor) for piece, tensor in zip(pieces, tensors, strict=True)]
        zeros = sum(share * (t.numel() - int(t.count_nonzero())) for share, t in shares)
        counts = torch.tensor([zeros, sum(s * t.numel() for s, t in shares)], dtype=torch.float64)
        zeros, many = (self._add(counts) if self._add else counts).tolist()
        return zeros, many

    def _judged(self) -> dict[Tensor, Tensor]:
        if self._averaging:
            return self._averaging.averages()
        judged: dict[Tensor, Tensor] = {}
        for optimizer in self._optimizers:
            if isinstance(optimizer, ScheduleFreeAdamW):
                judged |= optimizer.averages()
        return judged

    def _covered(
        self,
        names: dict[nn.Parameter, tuple[str, ...]],
        own: dict[nn.Parameter, Tensor],
        penalty: Penalty,
        *,
        path: str,
    ) -> list[tuple[dict[str, Any], list[Tensor]]]:
        """The weights that a penalty covers, by the group from which they have their lr."""
        large = {p: aliases for p, aliases in names.items() if p.ndim >= 2}
        chosen = {own[p] for p in matching(large, penalty.match, path=path) if p in own}
        parts = [(group, [p for p in group["params"] if p in chosen]) for group, _ in self._rates]
        return [(group, weights) for group, weights in parts if weights]


def _nothing(parameter: Tensor, device: torch.device) -> nn.Parameter:
    """What stands for a parameter of which nothing is here."""
    return nn.Parameter(torch.empty((0, *parameter.shape[1:]), device=device))


def _gradients(parameters: Sequence[Tensor]) -> list[Tensor]:
    return [p.grad for p in parameters if p.grad is not None]


def _thinned(
    model: nn.Module, own: dict[nn.Parameter, Tensor], spec: Sparsity
) -> dict[str, Tensor]:
    """The trained matrices whose weights may go, by name; RecipeError if there are none."""
    names = names_of(model)
    layers = chosen(model, spec.layers, spec.skip)
    weights = [model.get_parameter(f"{name}.weight") for name in layers]
    alone = [w for w in weights if w in own and w.requires_grad and len(names[w]) == 1]
    if not alone:
        expected = "patterns of names of linear layers or convolutions that are trained"
        found = f"{', '.join(spec.layers)} without {', '.join(spec.skip)}"
        raise RecipeError([Fault("fit.sparsity.layers", expected, found)])
    return {names[weight][0]: own[weight] for weight in alone}
