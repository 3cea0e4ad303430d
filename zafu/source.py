"""Reading a recipe's text: plain data from YAML, and the line on which each path stands.

Safe by construction: nodes are turned into dicts, lists, strings, numbers and booleans here, so
no tag can build anything else. YAML 1.2's scalars are used (`1e-3` is a number, `no` is text).
Refused, as soon as they are met: more than 256 KiB, 100 aliases, 500 keys of one mapping, 4,000
values before or after the aliases' expansion, nesting deeper than 32, duplicate keys, tags.
"""

import re
import stat
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

try:
    from yaml import CSafeLoader as Loader  # ten times as fast
except ImportError:  # PyYAML was built without libyaml
    from yaml import SafeLoader as Loader

from zafu.errors import Fault, RecipeError
from zafu.spec import replaced

BYTES, ALIASES, VALUES, KEYS, DEPTH = 2**18, 100, 4_000, 500, 32
_INT = re.compile(r"[-+]?[0-9]+(_[0-9]+)*")
_FLOAT = re.compile(r"[-+]?(\.[0-9]+|[0-9]+(_[0-9]+)*(\.[0-9]*)?)([eE][-+]?[0-9]+)?")
_DIGITS = 1000  # of a number; a longer one is text
_WORDS = {"": None, "~": None, "null": None, "true": True, "false": False}
_SPECIAL = {".inf": float("inf"), "-.inf": float("-inf"), ".nan": float("nan")}


@dataclass
class Source:
    """Plain data together with the place that each dotted path came from."""

    data: Any
    file: str = ""
    lines: dict[str, int] = field(default_factory=dict[str, int])
    overridden: set[str] = field(default_factory=set[str])
    restarted: list[str] = field(default_factory=list[str])  # mappings whose kind was replaced

    def where(self, path: str) -> str:
        """`file:line` of a path or of the nearest path above it, or "command line"."""
        while True:
            if path in self.overridden:
                return "command line"
            if path in self.lines:
                return f"{self.file}:{self.lines[path]}"
            if not path:
                return self.file
            path = path.rpartition(".")[0]

    def override(self, assignments: Iterable[str]) -> "Source":
        """A copy with each `path=value` applied in order; all malformed ones at once."""
        new = Source(self.data, self.file, self.lines, set(self.overridden), list(self.restarted))
        faults: list[Fault] = []
        for text in assignments:
            path, sign, value = text.partition("=")
            if not sign or not re.fullmatch(r"\w+(\.\w+)*", path):
                hint = "for example fit.optimizer.lr=1e-3"
                faults.append(Fault("", "path=value", repr(text), "command line", hint))
                continue
            try:
                if path.endswith(".kind") and _differs(new.data, path, value):
                    new.restarted.append(path.removesuffix(".kind"))
                new.data = replaced(new.data, path, parse_yaml(value, "command line").data)
                new.overridden.add(path)
                new.lines = {p: n for p, n in new.lines.items() if not p.startswith(f"{path}.")}
            except RecipeError as error:
                faults += [_placed(fault, "command line") for fault in error.faults]
        if faults:
            raise RecipeError(faults)
        return new


def read(file: Path) -> Source:
    """The plain data of a YAML or JSON file; raises RecipeError with its line if malformed."""
    try:
        status = file.stat()
        if not stat.S_ISREG(status.st_mode):  # a pipe would be waited for
            raise RecipeError([Fault("", "a file", where=str(file))])
        if status.st_size > BYTES:
            raise RecipeError([Fault("", f"a file of at most {BYTES} bytes", where=str(file))])
        text = file.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise RecipeError([Fault("", "a readable UTF-8 file", str(error), str(file))]) from None
    source = parse_yaml(text, str(file))
    if not isinstance(source.data, dict):
        raise RecipeError([Fault("", "a mapping of task, data, model and fit", where=str(file))])
    return source


def parse_yaml(text: str, file: str = "") -> Source:
    """The value of a YAML text (not always a mapping) with the line of each path."""
    try:
        _refuse_what_explodes(text, file)
        node = yaml.compose(text, Loader)
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        where = f"{file}:{mark.line + 1}" if mark else file
        found = getattr(error, "problem", None) or str(error)
        raise RecipeError([Fault("", "valid YAML", found, where)]) from None
    except RecursionError:
        raise RecipeError([Fault("", f"nesting of at most {DEPTH}", where=file)]) from None
    reader = _Reader(file)
    data = None if node is None else reader.value(node, "", 0)
    if reader.faults:
        raise RecipeError(reader.faults)
    return Source(data, file, reader.lines)


def _refuse_what_explodes(text: str, file: str) -> None:
    """Raise RecipeError at the first event that plain data has no need of, before it costs time."""
    depth = aliases = values = 0
    for event in yaml.parse(text, Loader):
        values += isinstance(event, (yaml.ScalarEvent, yaml.CollectionStartEvent))
        aliases += isinstance(event, yaml.AliasEvent)
        depth += isinstance(event, yaml.CollectionStartEvent)
        depth -= isinstance(event, yaml.CollectionEndEvent)
        tag = (
            event.tag if isinstance(event, (yaml.ScalarEvent, yaml.CollectionStartEvent)) else None
        )
        limits = {
            "no tag": tag is not None,
            f"at most {ALIASES} aliases": aliases > ALIASES,
            f"at most {VALUES} keys and values": values > 2 * VALUES,
            f"at most {DEPTH} levels": depth > DEPTH,
        }
        for expected, broken in limits.items():
            if broken:
                where = f"{file}:{event.start_mark.line + 1}"
                raise RecipeError([Fault("", expected, tag or "", where)])


class _Reader:
    """Turns YAML nodes into plain data, noting lines and faults on the way."""

    def __init__(self, file: str) -> None:
        self.file = file
        self.lines: dict[str, int] = {}
        self.faults: list[Fault] = []
        self.values = 0

    def value(self, node: yaml.Node, path: str, depth: int) -> Any:
        line = node.start_mark.line + 1
        self.lines.setdefault(path, line)
        self.values += 1
        if depth > DEPTH or self.values > VALUES:
            limit = f"at most {VALUES} values and {DEPTH} levels"
            raise RecipeError([Fault(path, limit, where=f"{self.file}:{line}")])
        if isinstance(node, yaml.MappingNode):
            return self.mapping(node, path, depth)
        if isinstance(node, yaml.SequenceNode):
            items = enumerate(node.value)
            return [self.value(item, _join(path, str(i)), depth + 1) for i, item in items]
        quoted = isinstance(node, yaml.ScalarNode) and node.style
        return node.value if quoted else scalar(node.value)

    def mapping(self, node: yaml.MappingNode, path: str, depth: int) -> dict[str, Any]:
        data: dict[str, Any] = {}
        if len(node.value) > KEYS:
            where = f"{self.file}:{node.start_mark.line + 1}"
            raise RecipeError([Fault(path, f"at most {KEYS} keys", str(len(node.value)), where)])
        for key, value in node.value:
            line = key.start_mark.line + 1
            if not isinstance(key, yaml.ScalarNode) or len(key.value) > 200:
                self.fault(path, "a key of at most 200 characters", line=line)
                continue
            name = str(key.value)
            inner = _join(path, name)
            if name in data:
                self.fault(inner, "each key once", "it again", line)
            self.lines[inner] = line
            data[name] = self.value(value, inner, depth + 1)
        return data

    def fault(self, path: str, expected: str, found: str = "", line: int = 0) -> None:
        self.faults.append(Fault(path, expected, found, f"{self.file}:{line}"))


def scalar(text: str) -> Any:
    """The value of a plain scalar by YAML 1.2's core schema."""
    if text.lower() in _WORDS and text in (text.lower(), text.title(), text.upper()):
        return _WORDS[text.lower()]
    if len(text) > _DIGITS:
        return text
    if _INT.fullmatch(text):
        return int(text)
    if _FLOAT.fullmatch(text):
        return float(text)
    return _SPECIAL.get(text.lower(), text)


def to_yaml(data: object) -> str:
    """Plain data as YAML that `parse_yaml` reads back equal."""
    return yaml.dump(data, Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=100)


_BREAKS = frozenset("\x85\u2028\u2029")


class _Dumper(yaml.SafeDumper):
    """Quotes text that YAML 1.2 would read as a number or a word; keeps short lists on a line."""


def _text(dumper: yaml.SafeDumper, text: str) -> yaml.Node:
    style = None if isinstance(scalar(text), str) else "'"
    if _BREAKS.intersection(text):  # they are line breaks to YAML 1.1, and would become spaces
        style = '"'
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style)


def _sequence(dumper: yaml.SafeDumper, items: Any) -> yaml.Node:
    flow = all(not isinstance(item, (dict, list, tuple)) for item in items)
    return dumper.represent_sequence("tag:yaml.org,2002:seq", items, flow_style=flow)


_Dumper.add_representer(str, _text)
_Dumper.add_representer(list, _sequence)
_Dumper.add_representer(tuple, _sequence)


def _join(path: str, key: str) -> str:
    return f"{path}.{key}" if path else key


def _placed(fault: Fault, where: str) -> Fault:
    return Fault(fault.path, fault.expected, fault.found, where, fault.hint)


def _differs(data: Any, path: str, kind: str) -> bool:
    for key in path.split(".")[:-1]:
        if isinstance(data, list):
            data = data[int(key)] if key.isdigit() and int(key) < len(data) else None
        elif isinstance(data, dict):
            data = data.get(key)
        else:
            return False
    return isinstance(data, dict) and len(data) > 1 and data.get("kind") != kind
