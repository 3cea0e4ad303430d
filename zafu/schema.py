"""The JSON Schema of a Spec, with every kind of every family: editors complete and check by it."""

from typing import Any

from zafu.spec import FAMILY_MARK, Family, Spec


def json_schema(spec: type[Spec]) -> dict[str, Any]:
    """The JSON Schema (2020-12) of a Spec with every kind of every family it can hold."""
    whole = spec.model_json_schema()
    defs: dict[str, Any] = whole.setdefault("$defs", {})
    while missing := [n for n in _family_names(whole) if n not in defs]:
        families = {f.__name__: f for f in Family.__subclasses__() if f._root}  # kinds bring more
        for name in missing:
            kinds = families[name].kinds()
            defs[name] = {"anyOf": [{"enum": list(kinds)}]}
            for technique in kinds.values():
                own = technique.model_json_schema()
                defs.update(own.pop("$defs", {}))
                defs[technique.__name__] = own
                defs[name]["anyOf"].append({"$ref": f"#/$defs/{technique.__name__}"})
    return _with_references(whole)


def _family_names(schema: Any) -> set[str]:
    if isinstance(schema, dict):
        own = {schema[FAMILY_MARK]} if FAMILY_MARK in schema else set[str]()
        return own.union(*(_family_names(value) for value in schema.values()))
    if isinstance(schema, list):
        return set[str]().union(*(_family_names(value) for value in schema))
    return set()


def _with_references(schema: Any) -> Any:
    if isinstance(schema, list):
        return [_with_references(value) for value in schema]
    if not isinstance(schema, dict):
        return schema
    schema = {key: _with_references(value) for key, value in schema.items()}
    if name := schema.pop(FAMILY_MARK, None):
        schema["$ref"] = f"#/$defs/{name}"
    return schema
