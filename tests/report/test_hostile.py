"""The report and data that attacks it: whatever a run folder says, it becomes text, no more."""

import base64
import hashlib
import json
import re
from collections import Counter
from html.parser import HTMLParser
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from zafu.report.element import VOID, h, render, visible
from zafu.report.page import policy, write

HOSTILE = [
    "<script>alert(1)</script>",
    "</title><script>alert(1)</script>",
    "</style><style>*{display:none}</style>",
    "</code></pre><h1>owned</h1>",
    '"><img src=x onerror=alert(1)>',
    "' onmouseover='alert(1)",
    '" style="background:url(//evil.example/x)',
    "<svg onload=alert(1)>",
    "<svg><script href=data:,alert(1) /></svg>",
    "<a href=javascript:alert(1)>x</a>",
    "<iframe srcdoc='<script>alert(1)</script>'>",
    "<meta http-equiv=refresh content='0;url=https://evil.example'>",
    "<base href=//evil.example>",
    "<link rel=stylesheet href=https://evil.example/a.css>",
    "<form action=https://evil.example><input name=a>",
    "<!-- --!> --><b>",
    "<![CDATA[ ]]><b>]]>",
    "]]>",
    "&lt;script&gt; &amp; &#60;b&#62; &nosuch;",
    "<%= 7*7 %> {{7*7}} ${7*7} #{7*7}",
    "a\u2028b\u2029c",
    "a\x00b\x01c\x1b[31m\x7f\x9b",
    "\u202egnp.exe\u202c \u2066x\u2069",
    "\u200f\u05d0\u05d1\u05d2\u200e mixed",
    "\ud800 lone \udfff",
    "\ufeff\ufffe\uffff\ufdd0",
    "../../etc/passwd%00.html",
    "`$(touch /tmp/owned)`; rm -rf",
    "a" * 5000,
    "<" * 300,
    "\r\n\t mixed \r lines \n\n",
    "＜script＞ ‹b› 𝕏 é️ 👩‍👩‍👧",
]
LEAF = (
    st.none() | st.booleans() | st.integers() | st.floats() | st.sampled_from(HOSTILE) | st.text()
)
ANY = st.recursive(
    LEAF, lambda x: st.lists(x, max_size=3) | st.dictionaries(st.text(), x), max_leaves=8
)
FILES = (
    *("environment", "status", "prepare", "evaluation", "fusion", "compression", "samples"),
    "model/card",
)


class Tree(HTMLParser):
    """What a browser would find in a page: tags with the names of their attributes, and text."""

    def __init__(self, page: str) -> None:
        super().__init__(convert_charrefs=True)
        self.found: Counter[tuple[str, tuple[str, ...]]] = Counter()
        self.values: list[tuple[str, str, str]] = []
        self.text: list[str] = []
        self.other: list[str] = []
        self.open: list[str] = []
        self.feed(page)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found[tag, tuple(name for name, _ in attrs)] += 1
        self.values += [(tag, name, value or "") for name, value in attrs]
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text.append(data)

    def handle_comment(self, data: str) -> None:
        self.other.append(data)

    def unknown_decl(self, data: str) -> None:
        self.other.append(data)


@pytest.mark.parametrize("text", HOSTILE, ids=range(len(HOSTILE)))
def test_data_makes_no_element_and_no_attribute(tmp_path: Path, text: str) -> None:
    tame, wild = tmp_path / "tame", tmp_path / "wild"
    run_of(tame, "word")
    run_of(wild, text)

    calm, page = Tree(written(tame)), Tree(written(wild))

    assert set(page.found) <= set(calm.found)
    assert outline(page) == outline(calm)
    assert page.other == []
    assert page.open == []
    shown = visible(text).strip()[:20]
    assert shown in "".join(page.text)
    assert not any(text in value for _, _, value in page.values)


@pytest.mark.parametrize("text", HOSTILE, ids=range(len(HOSTILE)))
def test_nothing_is_loaded_or_run(tmp_path: Path, text: str) -> None:
    run_of(tmp_path / "run", text)

    tree = Tree(written(tmp_path / "run"))

    assert not {tag for tag, _ in tree.found} & {"script", "iframe", "img", "form", "object", "a"}
    for _, name, value in tree.values:
        assert not name.startswith("on")
        assert name not in ("style", "src", "srcset", "action", "xlink:href")
        assert name != "href" or value == "data:,"
        assert "//" not in value
        assert "url(" not in value


def test_the_policy_allows_the_one_style_sheet_by_its_digest(tmp_path: Path) -> None:
    run_of(tmp_path / "run", "word")
    page = written(tmp_path / "run")

    head = page[: page.index("<body>")]
    (style,) = re.findall(r"<style>(.*?)</style>", head, re.DOTALL)
    digest = base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()

    (allowed,) = [v for _, _, v in Tree(page).values if "default-src" in v]
    assert f"style-src 'sha256-{digest}'" in allowed
    assert "default-src 'none'" in policy(style)
    assert head.index("Content-Security-Policy") < head.index("<style>")
    assert page.count("<style") == 1
    assert not re.search(r"@import|url\(|https?:|//", style)


def test_a_name_of_a_folder_is_only_text(tmp_path: Path) -> None:
    run = tmp_path / '"><script>alert(1)<'
    run_of(run, "word")

    page = written(run)

    assert "<script" not in page
    assert "&gt;&lt;script&gt;alert(1)&lt;" in page


@given(data=st.data())
@settings(deadline=None, max_examples=60)
def test_any_json_in_any_file_gives_a_page(data: st.DataObject) -> None:
    with TemporaryDirectory() as folder:
        run = Path(folder)
        (run / "model").mkdir()
        for name in FILES:
            (run / f"{name}.json").write_text(json.dumps(data.draw(ANY)))
        rows = data.draw(st.lists(rows_of_metrics(), max_size=5))
        (run / "metrics.jsonl").write_text("\n".join(map(json.dumps, rows)))

        tree = Tree(written(run))

    assert tree.open == []
    assert tree.found["main", ()] == 1


@given(data=st.data())
@settings(deadline=None, max_examples=80)
def test_any_value_in_any_place_of_a_run_gives_a_page(data: st.DataObject) -> None:
    with TemporaryDirectory() as folder:
        run = Path(folder) / "run"
        run_of(run, "word")
        file = run / data.draw(st.sampled_from(["metrics.jsonl", *(f"{n}.json" for n in FILES)]))
        lines = file.read_text().splitlines()
        at = data.draw(st.integers(0, len(lines) - 1))
        lines[at] = json.dumps(changed(json.loads(lines[at]), data))
        file.write_text("\n".join(lines) + "\n")

        tree = Tree(written(run))

    assert tree.open == []


@given(data=st.binary(max_size=60), name=st.sampled_from(["recipe.yaml", "metrics.jsonl", *FILES]))
@settings(deadline=None, max_examples=60)
def test_any_bytes_in_any_file_give_a_page(data: bytes, name: str) -> None:
    with TemporaryDirectory() as folder:
        run = Path(folder)
        (run / "model").mkdir()
        (run / (name if "." in name else f"{name}.json")).write_bytes(data)

        tree = Tree(written(run))

    assert tree.open == []


@given(text=st.text(st.characters(exclude_categories=[])), quote=st.booleans())
@settings(deadline=None)
def test_text_comes_back_as_it_was_shown(text: str, quote: bool) -> None:
    element = h("p", {"title": text}, text) if quote else h("p", text)

    page = render(element)
    tree = Tree(page)

    assert "".join(tree.text) == visible(text)
    assert tree.values == ([("p", "title", visible(text))] if quote else [])
    page.encode()


def changed(value: Any, data: st.DataObject) -> Any:
    """The value with something else in one place of it, however deep."""
    if not isinstance(value, (dict, list)) or not value or data.draw(st.integers(0, 5)) == 0:
        return data.draw(LEAF | st.integers() | st.floats() | ANY)
    keys = list(value) if isinstance(value, dict) else list(range(len(value)))
    key = data.draw(st.sampled_from(keys))
    new = value.copy()
    new[key] = changed(value[key], data)
    return new


def judged(text: str, scores: dict[str, Any]) -> dict[str, Any]:
    """What an evaluation says beside its scores."""
    one = next(iter(scores.values()))
    share = {"value": 0.5, "n": 4, "low": 0.2, "high": 0.8, "how": text}
    bins = [{"low": 0.4, "high": 0.5, "confidence": 0.45, "accuracy": share}]
    sure = {"scores": {"ece": one, "brier": one, "loss": one}, "bins": bins}
    parts = [{"name": text, "score": one, "worse": mark} for mark in ("shown", "uncorrected", text)]
    curve = [[0.0, 0.5, 1.0], [0.0, 0.7, 1.0]]
    return {
        "calibration": {"temperature": 0.7, "split": text, "n": 9, "before": sure, "after": sure},
        "slices": {text: {"metric": text, "higher_is_better": False, "all": 0.5, "parts": parts}},
        "curves": [
            {"label": text, "roc_auc": 0.6, "average_precision": 0.5, "positives": 2}
            | {"roc": curve, "precision_recall": curve}
        ],
        "numbers": {"name": text, "samples": 9, "true": [1.0, 2.5], "predicted": [1.5, 2.0]},
        "higher": {text: True},
    }


def outline(tree: Tree) -> Counter[str]:
    """How often each tag occurs that does not depend on the length of a text."""
    pieces = {"span", "text", "title"}  # of the tinted recipe; of labels that fit or not
    return Counter({tag: n for (tag, _), n in tree.found.items() if tag not in pieces})


def written(run: Path) -> str:
    """The page of a run folder."""
    return write(run).read_text(encoding="utf-8")


def rows_of_metrics() -> st.SearchStrategy[dict[str, Any]]:
    """Rows that nearly are what they should be."""
    keys = ("loss", "grad_norm", "lr", "seconds", "samples", "saved")
    one = {"value": LEAF, "n": st.integers(), "how": LEAF, "low": LEAF, "high": LEAF}
    scores = st.dictionaries(st.sampled_from(["loss", "accuracy"]), st.fixed_dictionaries(one))
    optional: dict[str, Any] = {"scores": scores | ANY, "weights": ANY, "split": ANY}
    return st.fixed_dictionaries({}, optional=dict.fromkeys(keys, LEAF) | optional)


def run_of(run: Path, text: str) -> None:
    """A finished run in which every name, label and text is this one."""
    (run / "model").mkdir(parents=True)
    one = {"value": 0.5, "unit": text, "n": 9, "low": 0.4, "high": 0.6, "how": text}
    scores = {"loss": one, text: one}
    cost = {"parameters": 7, "bytes": 28, "latency": {"1": one, "32": one}}
    histogram = {"low": -1, "high": 1, "counts": [1, 2, 1]}
    link = {
        "name": text,
        "link": {"kind": text, text: text},
        "scores": scores,
        "against": [{"metric": "loss", "difference": one, "verdict": text}],
        "bytes": 28,
        "memory": {"peak": 99},
        "cost": cost,
        "decoding": one,
        "histogram": histogram,
        "zeros": 0.1,
        "sensitivity": {text: {"loss": 0.1, "bits": text}},
    }
    member = {"name": text, "kind": text, "weight": 0.5, "scores": scores, "cost": cost}
    whole = text.encode(errors="replace").decode()  # a recipe with half a letter is refused
    recipe = {"task": {"kind": whole}, "data": {"kind": whole, "files": whole}, "seed": whole}
    files = {
        "environment": {"zafu": text, "cpu": text, "git": {"commit": text, "dirty": True}},
        "status": {"state": text, "step": 2, "of": 2, "message": text, "command": text},
        "prepare": {
            "digest": text,
            "steps": [{"step": text, "rows_in": 3, "rows_out": 2, "why": text}],
            "splits": {text: {"samples": 2, "units": 2}},
        },
        "evaluation": {
            "split": text,
            "metric": text,
            "scores": scores,
            "baselines": {text: scores},
            "confusion": {"labels": [text, text], "counts": [[3, 1], [2, 4]]},
            **judged(text, scores),
        },
        "fusion": {
            "how": text,
            "means": text,
            "metric": "loss",
            "best": text,
            "verdict": "better",
            "effect": {"size": one, "p": 0.1},
            "members": [member, member],
            "fused": member,
            "diversity": {"measure": text, "pairs": [[0, 0.5], [0.5, 0]], "any_right": one},
            "notes": [text],
        },
        "compression": {
            "split": text,
            "metric": "loss",
            "bandwidth": 1e9,
            "rows": [link, link],
            "notes": [text],
        },
        "samples": [
            {"prompt": text, "text": text},
            {"name": text, "predicted": text, "true": text},
        ],
        "model/card": {"parameters": 7, "bytes": 28, "digest": text, "files": {text: text}},
    }
    for name, content in files.items():
        (run / f"{name}.json").write_text(json.dumps(content))
    rows: list[dict[str, Any]] = [{"step": n, "loss": 1 / n, "seconds": 1} for n in (1, 2)]
    rows.append({"step": 2, "split": text, "scores": scores, "weights": {"norm": 1}})
    (run / "metrics.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    (run / "recipe.yaml").write_text(yaml.safe_dump(recipe))
