import json
from typing import Literal, final

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import Field

from zafu.errors import Fault, RecipeError
from zafu.schema import json_schema
from zafu.spec import Family, Spec, did_you_mean, replaced


class Dish(Family):
    kind: str


@final
class Soup(Dish):
    kind: Literal["soup"] = "soup"
    salt: float = Field(1e-3, gt=0)
    spices: tuple[str, ...] = ()


@final
class Stack(Dish):
    """Contains others of its family."""

    kind: Literal["stack"] = "stack"
    layers: tuple[Dish, ...] = ()

    def check(self):
        if len(self.layers) > 2:
            yield Fault("layers", "at most 2 layers", str(len(self.layers)))


class Menu(Spec):
    dish: Dish
    guests: int | Literal["all"] = 3
    """How many come."""
    price: float = Field(1.0, ge=0)
    table: int
    """The table's number."""


def faults(value: object, spec: type[Spec] = Menu) -> dict[str, Fault]:
    with pytest.raises(RecipeError) as caught:
        spec.parse(value)
    return {fault.path: fault for fault in caught.value.faults}


def test_every_fault_is_found_at_once() -> None:
    value = {"dish": {"kind": "soup", "salt": -1, "spice": []}, "guests": "few", "prize": 2}

    found = faults(value)

    assert set(found) == {"dish.salt", "dish.spice", "guests", "prize", "table"}
    assert found["dish.salt"].expected == "a number > 0"
    assert "spices" in found["dish.spice"].hint
    assert "price" in found["prize"].hint
    assert found["guests"].expected == "a whole number or one of 'all'"
    assert found["table"].expected == "The table's number"


def test_meaning_is_checked_even_beside_a_faulty_field() -> None:
    value = {"kind": "stack", "layers": ["soup"] * 3, "colour": "red"}

    found = faults({"dish": value, "table": 1})

    assert set(found) == {"dish.colour", "dish.layers"}


def test_a_fault_deep_inside_nested_families_keeps_its_whole_path() -> None:
    inner = {"kind": "stack", "layers": [{"kind": "stack", "layers": [{"kind": "soop"}]}]}

    found = faults({"dish": inner, "table": 1})

    assert set(found) == {"dish.layers.0.layers.0.kind"}
    assert found["dish.layers.0.layers.0.kind"].hint == "did you mean soup?"


@pytest.mark.parametrize(
    ("value", "path"),
    [
        ({"dish": "soup", "table": 1.5}, "table"),
        ({"dish": "soup", "table": True}, "table"),
        ({"dish": "soup", "table": "1"}, "table"),
        ({"dish": "soup", "table": 1, "price": float("nan")}, "price"),
        ({"dish": 3, "table": 1}, "dish"),
        ({"dish": {}, "table": 1}, "dish.kind"),
    ],
)
def test_types_are_strict(value: dict[str, object], path: str) -> None:
    assert set(faults(value)) == {path}


def test_a_kind_alone_means_its_defaults() -> None:
    menu = Menu.parse({"dish": "soup", "table": 1})

    assert menu.dish == Soup()


@given(
    salt=st.floats(1e-300, 1e300),
    spices=st.lists(st.text(), max_size=4),
    guests=st.one_of(st.integers(), st.just("all")),
)
def test_a_spec_prints_and_parses_back_equal(
    salt: float, spices: list[str], guests: object
) -> None:
    menu = Menu.parse(
        {"dish": {"kind": "soup", "salt": salt, "spices": spices}, "guests": guests, "table": 0}
    )

    again = Menu.parse(json.loads(json.dumps(menu.dump())))

    assert again == menu
    assert again.digest() == menu.digest()


def test_a_different_value_has_a_different_digest() -> None:
    menu = Menu.parse({"dish": "soup", "table": 1})

    assert menu.at("dish.salt", 2e-3).digest() != menu.digest()
    assert menu.at("dish.salt", 1e-3).digest() == menu.digest()


def test_at_replaces_one_value_and_checks_it() -> None:
    menu = Menu.parse({"dish": {"kind": "soup", "spices": ["dill"]}, "table": 1})

    changed = menu.at("dish.spices.0", "mint")

    assert isinstance(changed.dish, Soup)
    assert changed.dish.spices == ("mint",)
    with pytest.raises(RecipeError, match="a number > 0"):
        menu.at("dish.salt", 0)


def test_another_kind_starts_its_block_afresh_and_the_same_kind_does_not() -> None:
    data = {"dish": {"kind": "soup", "salt": 0.5}}

    assert replaced(data, "dish.kind", "stack") == {"dish": {"kind": "stack"}}
    assert replaced(data, "dish.kind", "soup") == data


def test_a_path_through_a_value_that_holds_nothing_is_refused() -> None:
    with pytest.raises(RecipeError, match="a mapping above this key"):
        replaced({"table": 1}, "table.leg.length", 3)
    with pytest.raises(RecipeError, match="an index below 1"):
        replaced({"spices": ["dill"]}, "spices.1", "mint")


def test_two_techniques_of_one_name_are_a_mistake_of_their_author() -> None:
    class Tool(Family):
        kind: str

    class Saw(Tool):
        kind: Literal["saw"] = "saw"

    class Other(Tool):
        kind: Literal["saw"] = "saw"

    with pytest.raises(TypeError, match="are called 'saw'"):
        Tool.kinds()


def test_the_schema_knows_every_kind_and_every_range() -> None:
    schema = json_schema(Menu)

    assert schema["properties"]["dish"]["$ref"] == "#/$defs/Dish"
    assert {"enum": ["soup", "stack"]} in schema["$defs"]["Dish"]["anyOf"]
    assert schema["$defs"]["Soup"]["properties"]["salt"]["exclusiveMinimum"] == 0
    assert "x-family" not in json.dumps(schema)


def test_hints_name_what_is_near_and_nothing_else() -> None:
    assert did_you_mean("adm", ["adam", "sgd", "lion"]) == "did you mean adam?"
    assert did_you_mean("zzz", ["adam"]) == ""
