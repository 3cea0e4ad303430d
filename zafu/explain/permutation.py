"""Permutation importance: how much worse a model is when a column is that of other rows.

Breiman, 2001; Fisher et al., 2019 (arXiv:1801.01489). On held-out rows, by the main metric, paired.
Of two columns that say the same each hides what the other is worth.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar, Literal, final

from pydantic import Field

from zafu.explain.contract import COLUMNS, Overview

if TYPE_CHECKING:
    from zafu.explain.runtime.scene import Scene


@final
class Permutation(Overview):
    """What each column is worth to the main metric."""

    kind: Literal["permutation"] = "permutation"
    takes: ClassVar[frozenset[str]] = COLUMNS
    rows: int = Field(default=1000, ge=2)
    """Most held-out rows, >= 2."""

    def over(self, scene: Scene) -> dict[str, Any]:
        """The metric, and for each column by how much it is worse without it."""
        import torch

        from zafu.explain.runtime import held
        from zafu.explain.runtime.features import Columns
        from zafu.explain.runtime.table import by_name

        samples = held.batch(scene, self.rows)
        before = held.answers(scene, samples)
        random = torch.Generator().manual_seed(0)
        features = Columns(by_name(scene.columns))
        columns: list[dict[str, Any]] = []
        for at, one in enumerate(scene.columns):
            order = torch.randperm(len(before), generator=random).to(scene.device)
            others = tuple(x[order] for x in samples.inputs)
            kept = torch.ones(len(before), features.many, dtype=torch.bool, device=scene.device)
            kept[:, at] = False
            ((_, inputs),) = features.mixed(samples.inputs, others, kept)
            after = held.answers(scene, samples._replace(inputs=inputs))
            found = held.worse(scene, samples, before, after)
            columns.append({"name": one.column.name, "worse": found.dump()})
        score = held.score(scene, samples, before)
        return {"metric": scene.recipe.metric, "score": score.dump(), "columns": columns}
