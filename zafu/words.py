"""A technique in a word or two, as a command line takes it: `int8`, `prune:0.5`, `{kind: …}`."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from typing import Any, TypeVar

from pydantic import BeforeValidator, GetJsonSchemaHandler
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema, PydanticCustomError

from zafu.errors import Fault, RecipeError
from zafu.source import parse_yaml, scalar
from zafu.spec import FAULTS, Family

F = TypeVar("F", bound=Family)


def worded(family: type[F], text: str) -> F:
    """The technique that a text names: a kind, with values for its first settings behind colons,
    or a mapping in braces. Raises RecipeError.
    """
    try:
        return _worded(family, text)
    except RecipeError as error:
        raise RecipeError(error.faults, of=repr(text)) from None


def _worded(family: type[F], text: str) -> F:
    if text.startswith("{"):
        return family.parse(parse_yaml(text).data)
    kind, *values = text.split(":")
    known = family.kinds().get(kind)
    if known is None or not values:
        return family.parse(kind)  # which says what there is
    if len(values) > len(known.positional):
        expected = f"{kind}:{':'.join(known.positional).upper()}" if known.positional else kind
        raise RecipeError([Fault("", expected, text)])
    given = {
        name: value if known.model_fields[name].annotation is str else scalar(value)
        for name, value in zip(known.positional, values, strict=False)
    }
    return family.parse({"kind": kind, **given})


def in_words(one: Family) -> str:
    """A technique as `worded` reads it, by what differs from the defaults."""
    plain, defaults = one.dump(), type(one).parse({"kind": one.tag()}).dump()
    given = {name: value for name, value in plain.items() if value != defaults[name]}
    first = one.positional[:1]
    if not given:
        return one.tag()
    if tuple(given) == first and isinstance(given[first[0]], (int, float, str)):
        value = given[first[0]]
        return f"{one.tag()}:{value:g}" if isinstance(value, float) else f"{one.tag()}:{value}"
    return json.dumps({"kind": one.tag(), **given}, ensure_ascii=False)


class OrLine:
    """Lets editors know that one line is as good as a list."""

    def __get_pydantic_json_schema__(
        self, schema: CoreSchema, handler: GetJsonSchemaHandler
    ) -> JsonSchemaValue:
        return {"anyOf": [handler(schema), {"type": "string"}]}


def listed(line: Callable[[str], Sequence[F]], word: Callable[[str], F]) -> BeforeValidator:
    """Reads a setting that is a list of techniques in words or mappings, or all in one line.

    What is not text is left to be checked as it stands.
    """

    def read(value: Any) -> Any:
        if isinstance(value, str):
            try:
                return tuple(line(value))
            except RecipeError as error:
                raise _refused(error.faults) from None
        if not isinstance(value, (list, tuple)):
            return value
        faults, found = list[Fault](), list[Any]()
        for index, one in enumerate(value):
            try:
                found.append(word(one) if isinstance(one, str) and ":" in one else one)
            except RecipeError as error:
                faults += [replace(f, path=f"{index}.{f.path}".rstrip(".")) for f in error.faults]
        if faults:
            raise _refused(faults)
        return tuple(found)

    return BeforeValidator(read)


def _refused(faults: Iterable[Fault]) -> PydanticCustomError:
    faults = tuple(faults)
    text = "\n".join(map(str, faults))
    return PydanticCustomError(FAULTS, "{text}", {"text": text, "faults": faults})
