"""Spec and Family: checked values, and the extension points that a recipe chooses from.

A Spec is a frozen pydantic model that refuses unknown keys and loose types. A Family is an
abstract Spec with a `kind`; each technique is a final subclass, and subclassing registers it:
the modules beside the family's own are imported when its kinds are first asked for.

No module of this package that defines a Spec imports torch when it is itself imported: a recipe
is checked in a fraction of a second, and torch is loaded when something is built.
"""

import hashlib
import importlib
import json
import pkgutil
import sys
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from dataclasses import replace
from difflib import get_close_matches
from inspect import isabstract
from typing import Annotated, Any, ClassVar, NoReturn, Self, TypeVar, get_args, get_origin

from pydantic import (
    BaseModel,
    ConfigDict,
    GetCoreSchemaHandler,
    GetJsonSchemaHandler,
    TypeAdapter,
    ValidationError,
    model_validator,
)
from pydantic.fields import FieldInfo
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema, ErrorDetails, PydanticCustomError, core_schema

from zafu.errors import Fault, RecipeError

F = TypeVar("F", bound="Family")
S = TypeVar("S", bound="Spec")
FAMILY_MARK = "x-family"  # marks, until all kinds are known, where a family stands in a schema
FAULTS = "zafu_faults"  # the type of an error that carries a list of Faults


class Spec(BaseModel):
    """A checked, frozen value that prints to plain data and comes back equal."""

    model_config = ConfigDict(
        frozen=True,
        extra="forbid",
        strict=True,
        allow_inf_nan=False,
        validate_default=True,
        use_attribute_docstrings=True,
    )

    def check(self) -> Iterable[Fault]:
        """Faults of meaning that no single field shows; paths are relative to this Spec."""
        return ()

    @model_validator(mode="before")
    @classmethod
    def _lists_are_tuples(cls, value: Any) -> Any:
        return _frozen(value) if isinstance(value, dict) else value

    @model_validator(mode="after")
    def _means_something(self) -> Self:
        if faults := tuple(self.check()):
            raise PydanticCustomError(FAULTS, "{text}", _carry(faults))
        return self

    @classmethod
    def parse(cls, value: object, where: Callable[[str], str] = lambda _: "") -> Self:
        """The Spec that `value` (plain data) describes; all faults at once as a RecipeError.

        `where` gives the place of a dotted path, such as `recipes/a.yaml:14`.
        """
        try:
            return cls.model_validate(value)
        except ValidationError as error:
            raise RecipeError(faults_of(error, cls, value, where)) from None

    def dump(self) -> dict[str, Any]:
        """Plain data: dicts, lists, strings, numbers; `parse(dump())` is equal to this."""
        return self.model_dump(mode="json")

    def digest(self) -> str:
        """SHA-256 of the plain data, 64 hex digits: equal if and only if the Specs are."""
        return digest_of(self.dump())

    def at(self, path: str, value: object) -> Self:
        """A copy with the value at a dotted path replaced, checked again as a whole."""
        return self.parse(replaced(self.dump(), path, value))


class Family(Spec):
    """An abstract Spec with a `kind`; its final subclasses are what a recipe can choose.

    In a recipe a technique is a mapping with `kind:` or, with all defaults, just its kind.
    """

    needs: ClassVar[tuple[tuple[str, str], ...]] = ()  # packages, each with the extra that has it
    positional: ClassVar[tuple[str, ...]] = ()  # the settings that values after `kind:` are for
    # where good values of its settings lie, as `--over` takes them; what matters most first
    ranges: ClassVar[dict[str, str]] = {}
    _root: ClassVar[bool] = False

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        cls._root = Family in cls.__bases__

    @classmethod
    def root(cls) -> type["Family"]:
        """The class that this one is a kind of."""
        return next(c for c in cls.__mro__ if issubclass(c, Family) and Family in c.__bases__)

    @classmethod
    def tag(cls) -> str:
        """The kind by which a recipe chooses this class."""
        return cls.model_fields["kind"].default

    @classmethod
    def kinds(cls) -> dict[str, type[Self]]:
        """Every technique of this family by kind, in the order of their names."""
        package = sys.modules[cls.root().__module__].__package__ or ""
        if package not in ("", "zafu"):  # there, all kinds of a family stand in one file
            for module in pkgutil.iter_modules(sys.modules[package].__path__, f"{package}."):
                importlib.import_module(module.name)
        found: dict[str, type[Self]] = {}
        for technique in _leaves(cls):
            kind = technique.tag()
            if found.setdefault(kind, technique) is not technique:
                raise TypeError(f"two {cls.__name__} techniques are called {kind!r}")
        return dict(sorted(found.items()))

    @classmethod
    def __get_pydantic_core_schema__(cls, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        if not cls._root:
            return handler(source)
        return core_schema.no_info_plain_validator_function(
            cls._choose,
            serialization=core_schema.plain_serializer_function_ser_schema(
                lambda value: value.model_dump(mode="json")
            ),
        )

    @classmethod
    def __get_pydantic_json_schema__(
        cls, schema: CoreSchema, handler: GetJsonSchemaHandler
    ) -> JsonSchemaValue:
        return {FAMILY_MARK: cls.__name__} if cls._root else handler(schema)

    @classmethod
    def _choose(cls, value: Any) -> Self:
        if isinstance(value, cls):
            return value
        kinds = cls.kinds()
        known = ", ".join(kinds)
        if isinstance(value, str):
            value = {"kind": value}
        if not isinstance(value, Mapping):
            _refuse(Fault("", f"a kind ({known}) or a mapping with kind:", show(value)))
        if "kind" not in value:
            _refuse(Fault("kind", f"one of {known}", "nothing", hint="add kind:"))
        kind = value["kind"]
        if not isinstance(kind, str) or kind not in kinds:
            _refuse(Fault("kind", f"one of {known}", show(kind), hint=did_you_mean(kind, kinds)))
        try:
            return kinds[kind].model_validate(value)
        except ValidationError as error:
            faults = faults_of(error, kinds[kind], value)
            raise PydanticCustomError(FAULTS, "{text}", _carry(faults)) from None


def faults_of(
    error: ValidationError,
    spec: type[Spec],
    value: object,
    where: Callable[[str], str] = lambda _: "",
) -> list[Fault]:
    """What pydantic found, one Fault a path, in our words."""
    merged: dict[str, Fault] = {}
    for detail in error.errors(include_url=False):
        for fault in _translate(detail, spec, value):
            known = merged.setdefault(fault.path, fault)
            if known.expected != fault.expected:  # another member of a union
                expected = f"{known.expected} or {fault.expected}"
                merged[fault.path] = replace(known, expected=expected)
    further = [f for f in checked_in_part(spec, value) if f.path not in merged]
    return [replace(f, where=f.where or where(f.path)) for f in [*merged.values(), *further]]


def in_part(spec: type[S], value: object) -> S | None:
    """The Spec as far as its fields are sound: to read one that is not raises AttributeError.

    So a check of meaning can be tried on a faulty Spec, and ends where it would lean on a fault.
    """
    if isinstance(value, spec):
        return value
    if issubclass(spec, Family) and spec._root:
        kind = value.get("kind") if isinstance(value, Mapping) else value
        technique = spec.kinds().get(kind) if isinstance(kind, str) else None
        return in_part(technique, value) if technique else None
    given = _frozen(dict(value)) if isinstance(value, Mapping) else {}
    sound: dict[str, Any] = {}
    for name, field in spec.model_fields.items():
        if name in given:
            try:
                sound[name] = _adapter(field).validate_python(given[name])
            except ValidationError:
                inner = _inner_spec(field)
                below = in_part(inner, given[name]) if inner else None
                if below is not None:
                    sound[name] = below
        elif not field.is_required():
            sound[name] = field.default
    part = spec.model_construct()
    object.__setattr__(part, "__dict__", sound)  # past the freeze: nobody has seen it yet
    return part


def checked_in_part(spec: type[Spec], value: object) -> list[Fault]:
    """What `check` finds in a Spec with faulty fields, and below, before it comes to a fault."""
    found: list[Fault] = []
    part = in_part(spec, value)
    if part is not None:
        with suppress(AttributeError):
            for fault in part.check():
                found.append(fault)  # one by one: what comes before the error counts
    for name, field in spec.model_fields.items():
        inner = _inner_spec(field)
        below = value.get(name) if isinstance(value, Mapping) else None
        # a Family has looked after its own
        if inner and isinstance(below, Mapping) and not issubclass(inner, Family):
            found += [_below(name, fault) for fault in checked_in_part(inner, below)]
    return found


def _inner_spec(field: FieldInfo) -> type[Spec] | None:
    return next((c for c in _classes(field.annotation) if issubclass(c, Spec)), None)


def _adapter(field: FieldInfo) -> TypeAdapter[Any]:
    kind = field.annotation
    if isinstance(kind, type) and issubclass(kind, BaseModel):  # it brings its own configuration
        return TypeAdapter(kind)
    annotated: Any = Annotated[kind, field]  # pyright: ignore[reportInvalidTypeForm]
    return TypeAdapter(annotated, config=Spec.model_config)


def did_you_mean(word: object, known: Iterable[str]) -> str:
    """A hint that names the known words nearest to this one, or ""."""
    near = get_close_matches(str(word), list(known), n=2, cutoff=0.6)
    return f"did you mean {' or '.join(near)}?" if near else ""


def show(value: object) -> str:
    """A value as a user would recognize it, cut to 60 characters."""
    text = "nothing" if value is None else json.dumps(value, default=str)
    return text if len(text) <= 60 else text[:57] + "..."


def digest_of(data: object) -> str:
    """SHA-256 (64 hex digits) of plain data in its canonical JSON."""
    text = json.dumps(data, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return hashlib.sha256(text.encode()).hexdigest()


def replaced(data: Any, path: str, value: object) -> Any:
    """A copy of plain data with the value at a dotted path replaced.

    Missing mappings are made. Replacing a `kind` by another one starts its mapping afresh, since
    the settings of one technique mean nothing to another.
    """
    key, _, rest = path.partition(".")
    if isinstance(data, (list, tuple)):
        if not key.isdigit() or int(key) >= len(data):
            raise RecipeError([Fault(path, f"an index below {len(data)}", key)])
        new = replaced(data[int(key)], rest, value) if rest else value
        return [new if i == int(key) else item for i, item in enumerate(data)]
    if isinstance(data, str):
        data = {"kind": data}
    if data is None:
        data = {}
    if not isinstance(data, Mapping):
        raise RecipeError([Fault(path, "a mapping above this key", show(data))])
    if rest:
        return {**data, key: replaced(data.get(key), rest, value)}
    if key == "kind" and data.get("kind") != value:
        return {"kind": value}
    return {**data, key: value}


def fields_of(spec: type[Spec]) -> dict[str, Any]:
    """The fields of a Spec by name, with the type that each holds."""
    return {name: field.annotation for name, field in spec.model_fields.items()}


def _leaves(cls: type[F]) -> Iterable[type[F]]:
    for child in cls.__subclasses__():
        yield from _leaves(child)
    kind = cls.model_fields.get("kind")
    if kind and isinstance(kind.default, str) and not isabstract(cls):
        yield cls


def _frozen(value: Any) -> Any:
    if isinstance(value, list):
        return tuple(_frozen(item) for item in value)
    if isinstance(value, dict):
        return {key: _frozen(item) for key, item in value.items()}
    return value


def _carry(faults: Iterable[Fault]) -> dict[str, Any]:
    faults = tuple(faults)
    return {"text": "\n".join(map(str, faults)), "faults": faults}


def _refuse(fault: Fault) -> NoReturn:
    raise PydanticCustomError(FAULTS, "{text}", _carry([fault]))


def _translate(detail: ErrorDetails, spec: type[Spec], value: object) -> list[Fault]:
    path = _path(detail["loc"], value, missing=detail["type"] == "missing")
    if detail["type"] == FAULTS:
        inner: tuple[Fault, ...] = detail["ctx"]["faults"]  # pyright: ignore[reportTypedDictNotRequiredAccess]
        return [_below(path, fault) for fault in inner]
    found = show(detail["input"])
    if detail["type"] == "missing":
        return [Fault(path, _expected_by(spec, path), "nothing", hint="add it")]
    if detail["type"] == "extra_forbidden":
        known = _known_at(spec, path)
        key = path.rpartition(".")[2]
        hint = did_you_mean(key, known) or f"known keys: {', '.join(known)}"
        return [Fault(path, "no such key", found, hint=hint)]
    return [Fault(path, _expected(detail), found)]


def _below(path: str, fault: Fault) -> Fault:
    joined = ".".join(filter(None, [path, fault.path]))
    return Fault(joined, fault.expected, fault.found, fault.where, fault.hint)


def _path(loc: tuple[int | str, ...], value: Any, *, missing: bool) -> str:
    """The dotted path of a location, without the marks that pydantic adds for unions."""
    parts: list[str] = []
    for index, part in enumerate(loc):
        last = missing and index == len(loc) - 1
        if isinstance(value, Mapping) and (part in value or last):
            value = value.get(part)
        elif isinstance(value, (list, tuple)) and isinstance(part, int) and part < len(value):
            value = value[part]
        else:
            continue
        parts.append(str(part))
    return ".".join(parts)


_WORDS = {
    "float_type": "a number",
    "int_type": "a whole number",
    "int_from_float": "a whole number",
    "bool_type": "true or false",
    "string_type": "text",
    "tuple_type": "a list",
    "dict_type": "a mapping",
    "finite_number": "a finite number",
    "model_type": "a mapping",
    "none_required": "nothing",
}
_BOUNDS = {"gt": ">", "ge": ">=", "lt": "<", "le": "<="}
_LENGTHS = {"min_length": "at least", "max_length": "at most"}


def _expected(detail: ErrorDetails) -> str:
    kind, context = detail["type"], detail.get("ctx", {})
    if kind in _WORDS:
        return _WORDS[kind]
    if kind == "literal_error":
        return f"one of {context['expected']}".replace(" or ", ", ")
    for name, sign in _BOUNDS.items():
        if name in context:
            return f"a number {sign} {context[name]:g}"
    for name, sign in _LENGTHS.items():
        if name in context:
            return f"{sign} {context[name]} items"
    return detail["msg"][:1].lower() + detail["msg"][1:]


def _spec_at(spec: type[Spec], path: str) -> type[Spec] | None:
    for key in filter(None, path.split(".")):
        field = None if key.isdigit() else spec.model_fields.get(key)
        inner = _inner_spec(field) if field else None
        if not inner:
            return None
        spec = inner
    return spec


def _classes(annotation: Any) -> list[type]:
    if get_origin(annotation) is Annotated:
        return _classes(get_args(annotation)[0])
    if isinstance(annotation, type):
        return [annotation]
    return [c for argument in get_args(annotation) for c in _classes(argument)]


def _known_at(spec: type[Spec], path: str) -> list[str]:
    owner = _spec_at(spec, path.rpartition(".")[0])
    return list(fields_of(owner)) if owner else []


def _expected_by(spec: type[Spec], path: str) -> str:
    owner = _spec_at(spec, path.rpartition(".")[0])
    field = owner.model_fields.get(path.rpartition(".")[2]) if owner else None
    doc = field.description if field else None
    return doc.splitlines()[0].rstrip(".") if doc else "a value"
