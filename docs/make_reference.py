"""Write docs/recipe.md from the Specs; with --check, only say whether it is up to date."""

import inspect
import sys
from pathlib import Path
from typing import Any

from pydantic.fields import FieldInfo

from zafu.cli.families import FAMILIES
from zafu.data.contract import Shares
from zafu.data.fold import Fold
from zafu.distil import Distil
from zafu.evaluation.contract import Evaluate
from zafu.fit import EarlyStopping, Fit
from zafu.optim.contract import Group
from zafu.optim.gradient import Clip, Noise
from zafu.optim.sparsity import Sparsity
from zafu.recipe import Recipe
from zafu.spec import Family, Spec, fields_of

TARGET = Path(__file__).with_name("recipe.md")
PARTS: dict[str, type[Spec]] = {
    "The recipe": Recipe,
    "`fit`": Fit,
    "`fit.distil`": Distil,
    "`fit.clip`": Clip,
    "`fit.noise`": Noise,
    "`fit.sparsity`": Sparsity,
    "`fit.early_stopping`": EarlyStopping,
    "`fit.optimizer.groups`, each": Group,
    "`data.split`": Shares,
    "`data.split.test` or `data.split.validation` as a fold": Fold,
    "`evaluate`": Evaluate,
}
HEAD = """\
# Recipe reference

Every key that a recipe can have, made from the code by `make docs`. A technique is chosen by
`kind:`; with all defaults its kind alone is enough (`optimizer: adamw`). Every path works as an
override: `zafu train recipe.yaml fit.optimizer.lr=1e-3`. Setting a `kind` by an override starts
its block from the defaults of the new kind. `zafu schema` prints all of this as JSON Schema.
"""


def page() -> str:
    """The whole reference as Markdown."""
    lines = [HEAD]
    for title, spec in PARTS.items():
        lines += [f"## {title}", "", first_line(spec), "", *table(spec), ""]
    for name, family in FAMILIES.items():
        lines += [f"## {name.capitalize()}", "", first_line(family), ""]
        for kind, technique in family.kinds().items():
            lines += [f"### `{kind}`", "", first_line(technique), "", *table(technique), ""]
    return "\n".join(lines)


def table(spec: type[Spec]) -> list[str]:
    """A row for each key, its default and what it means."""
    keys = [name for name in fields_of(spec) if name != "kind"]
    if not keys:
        return ["No settings."]
    rows = ["| key | default | meaning |", "|---|---|---|"]
    for name in keys:
        field = spec.model_fields[name]
        rows.append(f"| `{name}` | {default(field)} | {meaning(field)} |")
    return rows


def default(field: FieldInfo) -> str:
    """The default as one would write it in YAML."""
    if field.is_required():
        return "required"
    return f"`{plain(field.default)}`"


def plain(value: Any) -> str:
    """A default value in YAML's flow style."""
    if isinstance(value, Family):
        return str(value.tag())
    if isinstance(value, Spec):
        return "{" + ", ".join(f"{k}: {plain(v)}" for k, v in value) + "}"
    if isinstance(value, tuple):
        return "[" + ", ".join(map(plain, value)) + "]"
    if value is None or isinstance(value, bool):
        return {None: "null", True: "true", False: "false"}[value]
    return str(value)


def meaning(field: FieldInfo) -> str:
    """The field's docstring on one line."""
    return " ".join((field.description or "").split()).replace("|", "\\|")


def first_line(spec: type[Spec]) -> str:
    """The first paragraph of a class's docstring."""
    return inspect.cleandoc(spec.__doc__ or "").partition("\n\n")[0].replace("\n", " ")


def main() -> int:
    """Write the page, or compare it."""
    text = page()
    if sys.argv[1:] == ["--check"]:
        if TARGET.is_file() and TARGET.read_text(encoding="utf-8") == text:
            return 0
        print("docs/recipe.md is not what the code says: make docs", file=sys.stderr)
        return 1
    TARGET.write_text(text, encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
