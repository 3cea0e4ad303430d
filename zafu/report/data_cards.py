"""Cards of the data page: steps, samples, leaks, suspects, and how values are distributed."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from typing import Any, Protocol

import numpy as np

from zafu.report import tables
from zafu.report.element import Child, Element, h
from zafu.report.folder import mapping, mappings, number, words
from zafu.report.words import short

LETTERS, LISTED, SUSPECTS = 400, 60, 20  # of an excerpt; removed items; suspected labels


class Pictures(Protocol):
    """A row of pictures."""

    @property
    def title(self) -> str:
        """What they have in common."""
        ...

    @property
    def pictures(self) -> Sequence[tuple[str, str]]:
        """Name and data URI of each."""
        ...


def steps(said: Sequence[dict[str, Any]], removed: Sequence[dict[str, Any]]) -> Element | None:
    """What each step was given, changed and removed, with examples, and how to put items back."""
    if not said:
        return None
    rows: list[list[Child]] = []
    for step in said:
        counts = [short(number(step.get(key))) for key in ("rows_in", "rows_out", "changed")]
        rows.append([h("span", words(step.get("step"))), *counts, words(step.get("why"))])
    heads = ["Step", "In", "Out", "Changed", "Removed, and why"]
    return h(
        "section",
        h("h2", "What was done"),
        tables.table("Each step, in order", heads, rows, numbers=3),
        [_examples(step) for step in said],
        _removed(removed),
    )


def samples(
    pictures: Sequence[Pictures],
    texts: Sequence[Sequence[tuple[str, bool]]],
    rows: Sequence[dict[str, Any]],
) -> Element | None:
    """Training samples as a model sees them."""
    parts: list[Child] = []
    for row in pictures:
        cells = [
            h("figure", h("img", {"src": uri, "alt": name}), h("figcaption", name))
            for name, uri in row.pictures
        ]
        parts.append(h("div.strip", h("h3", row.title), h("div.pictures", cells)))
    for text in texts:
        inside = [h("mark", piece) if changed else piece for piece, changed in text]
        parts.append(h("pre", h("code", inside)))
    if rows:
        heads = list(rows[0])[:8]
        cells = [[words(row.get(head)) for head in heads] for row in rows]
        body = [[h("span", first), *rest] for first, *rest in cells]
        parts.append(tables.table("The first rows", heads, body))
    return h("section", h("h2", "What a model sees"), parts) if parts else None


def leaks(said: Mapping[str, Any], limits: Mapping[str, Any]) -> Element | None:
    """What training knows of the held-out samples, beside the limits."""
    rows: list[list[Child]] = []
    examples: list[Child] = []
    for split, kinds in said.items():
        for kind, leak in mapping(kinds).items():
            found = mapping(leak)
            count, share = number(found.get("count")), number(found.get("share"))
            limit = number(limits.get(kind))
            bad = share > limit
            verdict = h("span.wrong", "above the limit") if bad else h("span.right", "✓")
            most = f"{limit:.2%}" if math.isfinite(limit) else "none set"
            shown = f"{share:.2%}" if math.isfinite(share) else "–"
            rows.append([h("span", f"{split}: {kind}"), short(count), shown, most, verdict])
            pairs = found.get("examples")
            for pair in pairs if isinstance(pairs, list) else []:
                if isinstance(pair, list) and len(pair) == 2:
                    both = f"{words(pair[0])} is in {split}, {words(pair[1])} in training"
                    examples.append(h("li", f"{kind}: {both}"))
    if not rows:
        return None
    heads = ["Held out", "Samples", "Share", "Limit", "Verdict"]
    more = h("details", h("summary", "examples"), h("ul", examples)) if examples else None
    lead = h("p.lead", "Samples that training has seen say little about those that it has not.")
    return h(
        "section",
        h("h2", "What training knows of the held-out samples"),
        lead,
        tables.table("Duplicates across splits, groups, time", heads, rows, numbers=3),
        more,
    )


def suspects(said: Sequence[dict[str, Any]]) -> Element | None:
    """Samples whose label is probably wrong."""
    if not said:
        return None
    rows: list[list[Child]] = []
    surest = sorted(said, key=lambda one: -np.nan_to_num(number(one.get("probability"))))
    for one in surest[:SUSPECTS]:
        share = number(one.get("probability"))
        sure = f"{share:.1%}" if math.isfinite(share) else "–"
        given, suggested = words(one.get("given")), words(one.get("suggested"))
        rows.append([h("code", words(one.get("id"))), given, suggested, sure])
    heads = ["Sample", "Given", "Suggested", "Probability"]
    title = (
        f"{len(said):,} samples whose given class is improbable, by cross-validation; the surest"
    )
    return h("section", h("h2", "Suspected labels"), tables.table(title, heads, rows))


def _examples(step: Mapping[str, Any]) -> Element | None:
    rows: list[list[Child]] = []
    for one in mappings(step.get("examples")):
        before, after = words(one.get("before"))[:LETTERS], words(one.get("after"))[:LETTERS]
        why = words(one.get("reason")) or "changed"
        if twin := words(one.get("twin")):
            why += f", repeats {twin}"
        shown = [h("pre", h("code", marked(before, after)))] if before else []
        shown += [h("pre", h("code", marked(after, before)))] if after else []
        rows.append([h("code", words(one.get("id"))), why, h("div", shown)])
    if not rows:
        return None
    body = tables.table("", ["Item", "Why", "Before, and after where it stayed"], rows)
    return h("details", h("summary", f"examples of {words(step.get('step'))}"), body)


def marked(text: str, other: str) -> list[Child]:
    """A text with the part marked in which it differs from another; all plain if there is none."""
    if not other or text == other:
        return [text]
    least = min(len(text), len(other))
    head = next((i for i in range(least) if text[i] != other[i]), least)
    tail = next((i for i in range(least - head) if text[-1 - i] != other[-1 - i]), least - head)
    end = len(text) - tail
    return [text[:head], h("mark", text[head:end]) if head < end else None, text[end:]]


def _removed(rows: Sequence[dict[str, Any]]) -> Element | None:
    if not rows:
        return None
    body: list[list[Child]] = []
    for one in rows[:LISTED]:
        text = " ".join(words(one.get("content")).split())[:160]
        twin = words(one.get("twin"))
        why = words(one.get("reason")) + (f" of {twin}" if twin else "")
        body.append([h("code", words(one.get("id"))), words(one.get("step")), why, text])
    name = words(rows[0].get("id"))
    line = h("code", f"data.keep='[{json.dumps(name, ensure_ascii=False)}]'")
    note = h("p", "All of them are in removed.jsonl. This line puts one back: ", line)
    table = tables.table("The first removed items", ["Item", "Step", "Why", "Content"], body)
    return h("details", h("summary", "removed items"), note, table)
