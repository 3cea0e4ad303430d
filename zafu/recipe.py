"""Recipe: the whole intent of a run, and the checks of meaning that cross its parts."""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import nullcontext, suppress
from dataclasses import replace
from pathlib import Path
from typing import Self

from pydantic import Field

from zafu import borrowed, elders
from zafu import plugins as plugin_files
from zafu.artifact import digest_file
from zafu.compress import field as links
from zafu.compress.field import Chain
from zafu.data.contract import Data
from zafu.data.fold import Fold
from zafu.errors import DataError, Fault, RecipeError
from zafu.evaluation.contract import Evaluate
from zafu.export import field as forms
from zafu.export.contract import Export
from zafu.export.field import Forms
from zafu.extras import missing
from zafu.fit import Fit
from zafu.layout import AXES, FOLDED, Layout
from zafu.models.contract import Model
from zafu.signature import Tokens
from zafu.source import Source, read
from zafu.spec import Family, Spec, did_you_mean, digest_of, in_part, show
from zafu.task import Task


class Recipe(Spec):
    """What to learn, from what, with which model, how, and how to judge it."""

    task: Task
    """What is to be predicted."""
    data: Data
    """Where samples come from."""
    model: Model
    """The network."""
    fit: Fit
    """How its weights are found."""
    layout: Layout = Layout()
    """Over how many processes it is spread; the answer is the same."""
    evaluate: Evaluate = Evaluate()
    """How it is judged."""
    seed: int = Field(default=0, ge=0, lt=2**32)
    """Seed of splits, initial weights, sample order and dropout; 0 to 2^32 - 1."""
    compress: Chain = ()
    """What makes the finished model smaller: links, or one line such as prune:0.5 > int8."""
    export: Forms = ()
    """The forms in which the finished model, smaller where `compress` says so, is published."""
    plugins: tuple[str, ...] = ()
    """Python files with techniques of your own, relative to the recipe."""

    @classmethod
    def parse(cls, value: object, where: Callable[[str], str] = lambda _: "") -> Self:
        """The recipe that plain data describes; all faults, of form and of meaning, at once."""
        faults: list[Fault] = []
        try:
            recipe = super().parse(value, where)
        except RecipeError as error:
            faults, recipe = list(error.faults), in_part(cls, value)
        if recipe is not None:
            known = {fault.path for fault in faults}
            found = [f for check in _CHECKS for f in _checked(check, recipe, faulty=bool(known))]
            faults += [replace(f, where=where(f.path)) for f in found if f.path not in known]
        if faults or recipe is None:
            raise RecipeError(faults)
        return recipe

    @classmethod
    def load(cls, file: Path, overrides: Sequence[str] = ()) -> Self:
        """The recipe in a YAML or JSON file, with `path=value` overrides applied."""
        return cls.from_source(read(file).override(overrides))

    @classmethod
    def stored(cls, file: Path) -> Self:
        """The recipe that a run or a model carries: its form is checked, not its surroundings.

        So a model can be loaded where the data that it was trained on is not.
        """
        source = read(file)
        load_plugins(source)
        return super().parse(source.data, source.where)

    @classmethod
    def from_source(cls, source: Source) -> Self:
        """The recipe of a source; the plugins that it names are imported first."""
        load_plugins(source)
        return cls.parse(source.data, source.where)

    def identity(self) -> str:
        """Digest of all that decides the weights: the settings and the plugins' code."""
        code = [digest_file(Path(name)) for name in self.plugins]
        settings = self.dump()
        if self.fit.start:
            settings["fit"]["start"] = elders.weights(Path(self.fit.start))
        if self.fit.distil:
            teacher = elders.weights(Path(self.fit.distil.teacher))
            settings["fit"]["distil"]["teacher"] = teacher
        del settings["fit"]["loader"]  # it decides the time, not a byte
        del settings["layout"]  # it decides who computes, not what
        del settings["compress"], settings["export"]  # they come after
        return digest_of([settings, code] if code else settings)

    @property
    def split_seed(self) -> int:
        """The seed by which the data is dealt and fitted."""
        seed = self.data.split.seed
        return self.seed if seed is None else seed

    @property
    def metric(self) -> str:
        """The metric by which this recipe is judged."""
        return self.evaluate.metric or self.task.metric

    def refuse_elders(self, held: str) -> None:
        """Raise RecipeError where weights would come from a model that has seen what is held out.

        `held` says what that is.
        """
        named = {"fit.start": self.fit.start, "fit.distil": self.fit.distil}
        expected = f"none: that model may have learned from {held}"
        if faults := [Fault(path, expected, "one") for path, of in named.items() if of]:
            raise RecipeError(faults)

    @property
    def higher_is_better(self) -> bool:
        """Whether more of that metric is better."""
        return self.task.higher_is_better(self.metric)


def load_plugins(source: Source) -> list[Path]:
    """Import the Python files that a recipe names; nothing else in a recipe is ever run.

    Their paths become absolute in the source. Raises RecipeError for files that are not there.
    """
    named = source.data.get("plugins") or []
    faults: list[Fault] = []
    paths: list[Path] = []
    beside = Path(source.file).parent
    for index, name in enumerate(named if isinstance(named, (list, tuple)) else []):
        path = beside / str(name)
        if path.suffix == ".py" and _is_file(path):
            paths.append(path.resolve())
        else:
            where = source.where(f"plugins.{index}")
            faults.append(Fault(f"plugins.{index}", "a Python file", show(name), where))
    if faults:
        raise RecipeError(faults)
    plugin_files.load(paths)
    if paths:
        source.data = {**source.data, "plugins": [str(path) for path in paths]}
    return paths


def _is_file(path: Path) -> bool:
    try:
        return path.is_file()
    except (OSError, ValueError):  # a name that is too long
        return False


def _data_serves_task(task: Task, data: Data) -> Iterator[Fault]:
    if task.kind not in data.tasks:
        yield Fault(
            "task.kind", f"one of {', '.join(sorted(data.tasks))} for {data.kind} data", task.kind
        )


def _labels_are_there(task: Task, data: Data) -> Iterator[Fault]:
    if data.wrong_labels and task.kind != "classification":
        yield Fault("data.wrong_labels", f"nothing, as {task.kind} has no classes", "a share")


def _model_takes_data(data: Data, model: Model) -> Iterator[Fault]:
    if data.gives not in model.takes:
        able = [name for name, kind in Model.kinds().items() if data.gives in kind.takes]
        expected = f"a model that takes {data.gives} ({', '.join(able)})"
        yield Fault("model.kind", expected, model.kind)


def _model_fits_data(task: Task, data: Data, model: Model) -> Iterator[Fault]:
    signature = data.foreseen(task.kind)
    if signature and data.gives in model.takes:
        for fault in model.fits(signature):
            yield replace(fault, path=f"model.{fault.path}")


def _model_suits_task(task: Task, model: Model) -> Iterator[Fault]:
    for fault in model.suits(task.kind):
        yield replace(fault, path=f"model.{fault.path}")


def _metrics_suit(task: Task, data: Data, evaluate: Evaluate) -> Iterator[Fault]:
    named = {f"evaluate.metrics.{i}": name for i, name in enumerate(evaluate.metrics)}
    if evaluate.metric:
        named["evaluate.metric"] = evaluate.metric
    signature = data.foreseen(task.kind)
    for path, name in named.items():
        if name in task.metrics:
            continue
        near = did_you_mean(name, task.metrics)
        own = f"a metric of {task.kind} ({', '.join(task.metrics)})"
        for fault in borrowed.faults(name, task.kind, signature.outputs if signature else None):
            yield (
                replace(fault, path=path, expected=own, hint=near)
                if near
                else replace(fault, path=path)
            )


def _slices_suit(data: Data, evaluate: Evaluate) -> Iterator[Fault]:
    if evaluate.slices and data.kind != "table":
        yield Fault("evaluate.slices", "nothing, as only a table has columns", data.kind)


def _baselines_suit(task: Task, data: Data, evaluate: Evaluate) -> Iterator[Fault]:
    for index, baseline in enumerate(evaluate.baselines or ()):
        if task.kind not in baseline.tasks or data.gives not in baseline.gives:
            expected = f"a baseline for {task.kind} on {data.gives}"
            yield Fault(f"evaluate.baselines.{index}.kind", expected, baseline.kind)


def _data_is_there(data: Data) -> Iterator[Fault]:
    try:
        files = data.sources()
    except (DataError, OSError, ValueError) as error:  # ValueError: a null byte in a name
        yield Fault("data", "data that can be read", " ".join(str(error).split()))
        return
    count = data.samples_foreseen(files)
    if count is None:
        return
    for name, held in (("validation", data.split.validation), ("test", data.split.test)):
        if isinstance(held, Fold):
            blocks = held.of + (data.split.by == "time")  # the first is only trained on
            if blocks > count and not held.dealt_elsewhere:
                yield Fault(f"data.split.{name}.of", f"at most {count} samples", str(held.of))
        elif 0 < held * count < 1:
            found = f"{held:g} of {count}"
            hint = f"at least {math.ceil(100 / count) / 100:g}"
            yield Fault(f"data.split.{name}", "a share of at least one sample", found, hint=hint)


def _validation_is_there(data: Data, fit: Fit) -> Iterator[Fault]:
    if data.split.validation == 0 and (fit.early_stopping or fit.evaluate_every):
        path = "fit.early_stopping" if fit.early_stopping else "fit.evaluate_every"
        hint = "set data.split.validation=0.1"
        yield Fault(path, "a validation split", "data.split.validation 0", hint=hint)


def _budget_suits_data(data: Data, fit: Fit) -> Iterator[Fault]:
    if fit.tokens and data.gives != "tokens":
        yield Fault("fit.tokens", f"a budget for {data.gives}, such as epochs", str(fit.tokens))


def _augmentation_suits(task: Task, data: Data, fit: Fit) -> Iterator[Fault]:
    for index, step in enumerate(fit.augment):
        if data.gives not in step.takes or (step.tasks and task.kind not in step.tasks):
            expected = f"an augmentation for {task.kind} on {data.gives}"
            yield Fault(f"fit.augment.{index}.kind", expected, step.kind)
    if fit.augment and fit.augment_backend == "opencv":
        if data.gives != "pixels":
            yield Fault("fit.augment_backend", f"torch, as the data gives {data.gives}", "opencv")
        else:
            yield from missing((("cv2", "opencv"),), "fit.augment_backend")


def _layout_fits(task: Task, data: Data, model: Model, fit: Fit, layout: Layout) -> Iterator[Fault]:
    batch = None if fit.batch == "all" else fit.batch
    try:  # asked only where needed: of a hub model, transformers is
        sizes = model.widths() if layout.tensor > 1 else None
        blocks = model.depth() if layout.pipeline > 1 else 0
    except (RecipeError, ImportError):
        return  # said where the model is checked
    for fault in layout.refused(sizes=sizes, blocks=blocks, batch=batch):
        yield replace(fault, path=f"layout.{fault.path}".rstrip("."))
    yield from _context_fits(model, layout)
    yield from _windows_fit(task, data, model, layout)
    if layout.pipeline > 1 and model.sees_documents():
        expected = "1, as later stages do not have the tokens that end documents"
        hint = "set model.attend=window"
        yield Fault("layout.pipeline", expected, str(layout.pipeline), hint=hint)
    if layout.pipeline > 1 and fit.micro_batch and fit.micro_batch % layout.pieces:
        expected = f"a multiple of the {layout.pieces} micro-batches of the pipeline"
        hint = f"nearest: {max(1, round(fit.micro_batch / layout.pieces)) * layout.pieces}"
        yield Fault("fit.micro_batch", expected, str(fit.micro_batch), hint=hint)

    if layout.pipeline > 1 and layout.schedule in FOLDED and fit.compile:
        expected = f"false with {layout.schedule}, which cuts a backward pass in two"
        yield Fault("fit.compile", expected, "true", hint="set layout.schedule=1f1b")


def _whole_matrices(fit: Fit, layout: Layout) -> Iterator[Fault]:
    """Faults of layouts in which no process has all that is ranked."""
    for axis in AXES if fit.sparsity else ():
        degree = getattr(layout, axis)
        if axis != "data" and degree > 1:
            expected = "1 with fit.sparsity, which ranks whole matrices; layout.data has them"
            yield Fault(f"layout.{axis}", expected, str(degree))


def _optimizer_transfers(model: Model, fit: Fit) -> Iterator[Fault]:
    """Faults where a width is transferred and steps do not follow it by a known rule."""
    optimizer = fit.optimizer
    if not model.transfers() or optimizer.width_rule(hidden=True):
        return
    expected = "steps of a size that is known, for model.transfer"
    found = f"{optimizer.kind}, as it is set"
    hint = "adamw keeps weight decay out of gradients" if optimizer.decays else ""
    yield Fault("fit.optimizer", expected, found, hint=hint)


def _context_fits(model: Model, layout: Layout) -> Iterator[Fault]:
    if layout.context > 1 and not model.cuts_windows():
        expected = "1, as this model does not attend to plain windows (model.attend=window)"
        yield Fault("layout.context", expected, str(layout.context))


def _windows_fit(task: Task, data: Data, model: Model, layout: Layout) -> Iterator[Fault]:
    """Faults where processes share windows: as contexts, or between blocks of a shared stream."""
    stream = layout.tensor if model.cuts_stream() else 1
    if layout.context * stream == 1:
        return
    path = "layout.context" if layout.context > 1 else "layout.tensor"
    if model.random_paths():
        yield Fault("model.drop_path", "0, as a window lies on several processes", "more")
    signature = data.foreseen(task.kind)
    if signature and isinstance(signature.inputs, Tokens):
        length = signature.inputs.context
        chunks = layout.context * math.lcm(2, stream) if layout.context > 1 else stream
        if length % chunks:
            near = max(length // chunks, 1) * chunks
            expected = f"windows of a multiple of {chunks} tokens (data.context={near})"
            yield Fault(path, expected, f"data.context={length}")


def _packages_are_there(
    task: Task, data: Data, model: Model, fit: Fit, evaluate: Evaluate, export: tuple[Export, ...]
) -> Iterator[Fault]:
    parts = {"task": task, "data": data, "model": model, "fit": fit, "evaluate": evaluate}
    parts |= {"export": export}
    for path, technique in (found for name, part in parts.items() for found in _inside(name, part)):
        yield from missing(technique.needs, path)


_CHECKS: tuple[Callable[..., Iterator[Fault]], ...] = (
    _data_serves_task,
    _labels_are_there,
    _model_takes_data,
    _model_fits_data,
    _model_suits_task,
    _metrics_suit,
    _slices_suit,
    _baselines_suit,
    _data_is_there,
    elders.absent,
    elders.unsuited,
    _validation_is_there,
    _budget_suits_data,
    _augmentation_suits,
    _optimizer_transfers,
    _layout_fits,
    _whole_matrices,
    links.misplaced,
    forms.unsuited,
    _packages_are_there,
)


def _inside(path: str, value: object) -> Iterator[tuple[str, Family]]:
    if isinstance(value, Family):
        yield path, value
    if isinstance(value, Spec):
        for name, inner in value:
            yield from _inside(f"{path}.{name}", inner)
    if isinstance(value, tuple):
        for index, inner in enumerate(value):
            yield from _inside(f"{path}.{index}", inner)


def _checked(
    check: Callable[..., Iterator[Fault]], recipe: Recipe, *, faulty: bool
) -> Iterator[Fault]:
    """The faults that a check finds; in a faulty recipe, before it comes to a faulty part."""
    with suppress(AttributeError) if faulty else nullcontext():
        parts = [getattr(recipe, name) for name in inspect.signature(check).parameters]
        yield from check(*parts)
