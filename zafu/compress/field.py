"""A chain as a setting: a list of links, each a kind, `kind:value` or a mapping; or one line."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from typing import Annotated, Any

from pydantic import BeforeValidator, GetJsonSchemaHandler
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema, PydanticCustomError

from zafu.compress.contract import Compression
from zafu.compress.words import chain, link
from zafu.errors import Fault, RecipeError
from zafu.spec import FAULTS


class _OrLine:
    """Lets editors know that one line is as good as a list."""

    def __get_pydantic_json_schema__(
        self, schema: CoreSchema, handler: GetJsonSchemaHandler
    ) -> JsonSchemaValue:
        return {"anyOf": [handler(schema), {"type": "string"}]}


def _read(value: Any) -> Any:
    """The links that are written as words; what is not text is left to be checked as it stands."""
    if isinstance(value, str):
        try:
            return chain(value)
        except RecipeError as error:
            raise _refused(error.faults) from None
    if not isinstance(value, (list, tuple)):
        return value
    faults, links = list[Fault](), list[Any]()
    for index, one in enumerate(value):
        try:
            links.append(link(one) if isinstance(one, str) and ":" in one else one)
        except RecipeError as error:
            faults += [replace(f, path=f"{index}.{f.path}".rstrip(".")) for f in error.faults]
    if faults:
        raise _refused(faults)
    return tuple(links)


def _refused(faults: Iterable[Fault]) -> PydanticCustomError:
    faults = tuple(faults)
    text = "\n".join(map(str, faults))
    return PydanticCustomError(FAULTS, "{text}", {"text": text, "faults": faults})


Chain = Annotated[tuple[Compression, ...], BeforeValidator(_read), _OrLine()]
