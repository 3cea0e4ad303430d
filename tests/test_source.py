import math
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from zafu.errors import RecipeError
from zafu.source import parse_yaml, read, scalar, to_yaml

plain = st.recursive(
    st.one_of(
        st.none(), st.booleans(), st.integers(), st.text(), st.floats(allow_nan=False, width=64)
    ),
    lambda inner: st.one_of(
        st.lists(inner, max_size=4),
        st.dictionaries(st.text(max_size=20).filter(lambda k: "." not in k), inner, max_size=4),
    ),
    max_leaves=12,
)


@given(plain)
@example("\x85")
@example({"a\u2028b": ["\u2029", " \x85 "]})
def test_plain_data_survives_yaml(data: object) -> None:
    assert parse_yaml(to_yaml(data)).data == data


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("1e-3", 1e-3),
        ("3", 3),
        ("-.5", -0.5),
        ("1_000", 1000),
        (".inf", math.inf),
        ("no", "no"),
        ("on", "on"),
        ("true", True),
        ("null", None),
        ("~", None),
        ("0x1f", "0x1f"),
        ("1.2.3", "1.2.3"),
        ("2026-11-23", "2026-11-23"),
    ],
)
def test_scalars_are_those_of_yaml_1_2(text: str, value: object) -> None:
    assert scalar(text) == value


def test_quoted_text_stays_text() -> None:
    assert parse_yaml("""{a: "1", b: '1e-3', c: "null"}""").data == {
        "a": "1",
        "b": "1e-3",
        "c": "null",
    }


def test_each_path_knows_its_line() -> None:
    source = parse_yaml("a:\n  b: 1\n  c:\n    - 2\n    - d: 3\n", "r.yaml")

    assert source.where("a.b") == "r.yaml:2"
    assert source.where("a.c.1.d") == "r.yaml:5"
    assert source.where("a.absent.deeper") == "r.yaml:1"


def test_an_override_is_placed_on_the_command_line() -> None:
    source = parse_yaml("a:\n  b: 1\n", "r.yaml").override(["a.b=[1, 2]", "c.d=1e-3"])

    assert source.data == {"a": {"b": [1, 2]}, "c": {"d": 1e-3}}
    assert source.where("a.b.0") == "command line"
    assert source.where("a") == "r.yaml:1"


def test_what_an_override_replaces_is_not_looked_for_in_the_file() -> None:
    source = parse_yaml("a: {kind: b}\n", "r.yaml").override(["a={kind: c}"])

    assert source.where("a.kind") == "command line"


def test_malformed_overrides_are_listed_together() -> None:
    with pytest.raises(RecipeError) as caught:
        parse_yaml("a: 1").override(["a", "b..c=1", "=3", "d=[1"])

    assert len(caught.value.faults) == 4


def test_a_replaced_kind_is_announced() -> None:
    source = parse_yaml("o: {kind: adamw, lr: 1}").override(["o.kind=sgd", "o.lr=2"])

    assert source.data == {"o": {"kind": "sgd", "lr": 2}}
    assert source.restarted == ["o"]


@pytest.mark.parametrize(
    "text",
    [
        "a: 1\na: 2",
        "a: !!python/object/apply:os.system [id]",
        "a: !custom 1",
        "[" * 40 + "]" * 40,
        "a: [1",
        "\t: x",
        "x" * 300 + ": 1",
        "a: &a [1]\nb: [" + ", ".join(["*a"] * 101) + "]",
        "\n".join(
            ["a0: &a0 [x, x, x, x, x, x, x, x, x]"]
            + [f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 9)}]" for i in range(1, 9)]
        ),
    ],
)
def test_hostile_or_broken_yaml_is_refused(text: str) -> None:
    with pytest.raises(RecipeError):
        parse_yaml(text, "evil.yaml")


def test_unreadable_files_are_refused(tmp_path: Path) -> None:
    (tmp_path / "list.yaml").write_text("- 1")
    (tmp_path / "latin.yaml").write_bytes(b"a: \xe9")
    (tmp_path / "large.yaml").write_text("#" * (2**20 + 1))

    for name in ("list.yaml", "latin.yaml", "large.yaml", "absent.yaml"):
        with pytest.raises(RecipeError):
            read(tmp_path / name)
