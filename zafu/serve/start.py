"""Starting a server: which form of the model, where it listens, and who may ask."""

from __future__ import annotations

import ipaddress
from collections.abc import Callable, Sequence
from pathlib import Path

from zafu.artifact import read_json
from zafu.deploy.bundle import Bundle
from zafu.deploy.gate import FILE, export
from zafu.errors import Refused
from zafu.export.contract import Export
from zafu.run import Run
from zafu.serve import listener
from zafu.serve.app import Options, served
from zafu.words import worded

LOCAL = ("127.0.0.1", "localhost", "::1")
SHORTEST = 32  # bytes of a token
PICK = "pick.json"  # in RUN/export: the form that `zafu bench RUN --pick` found best


def form_of(folder: Path, kind: str | None, say: Callable[[str], None]) -> Path:
    """The folder that holds a model in a form; it is exported first where it is not there."""
    if kind is None or kind == "torch":
        return folder
    if (folder / FILE).is_file():
        found = read_json(folder / FILE)["export"]["kind"]
        if found == kind:
            return folder
        raise Refused(f"--kind {kind}: expected a run, found {folder}, which has the form {found}")
    if kind == "pick":
        file = folder / "export" / PICK
        if not file.is_file():
            raise Refused(f"{file}: expected what `zafu bench {folder} --pick` writes, found none")
        return form_of(folder, str(read_json(file)["kind"]), say)
    how = worded(Export, kind)
    to = folder / "export" / how.kind
    bare = kind == how.kind  # then whatever settings it was exported with are kept
    if not (to / FILE).is_file() or not (bare or read_json(to / FILE)["export"] == how.dump()):
        say(f"{to}: the model is exported first")
        export(Run.open(folder), how, to, say=say)
    return to


def named(folder: Path) -> str:
    """A model's name: that of its run."""
    folder = folder.resolve()
    if folder.parent.name == "export":
        return folder.parent.parent.name
    return folder.parent.name if folder.name == "model" else folder.name


def token_of(file: Path | None) -> str | None:
    """The token in a file; raises Refused where it is too short to be a secret."""
    if file is None:
        return None
    try:
        token = file.read_text(encoding="ascii").strip()
    except (OSError, UnicodeDecodeError):
        raise Refused(f"--token-file {file}: expected a readable file of ASCII letters") from None
    if len(token) < SHORTEST:
        advice = "python -c 'import secrets; print(secrets.token_urlsafe(32))'"
        found = f"expected {SHORTEST} bytes or more, found {len(token)}"
        raise Refused(f"--token-file {file}: {found}; {advice} writes one")
    return token


def hosts(host: str, names: Sequence[str], token: str | None) -> tuple[str, ...]:
    """The names under which a server may be asked; raises Refused where that is not safe."""
    if is_local(host):
        return (*LOCAL, host.lower(), *map(str.lower, names))
    if token is None:
        raise Refused(
            f"--host {host}: expected --token-file beside it, as other machines may ask there"
        )
    if _is_any(host) and not names:
        raise Refused(f"--host {host}: expected --name, as which machines ask for it")
    return (*LOCAL, host.lower(), *map(str.lower, names))


def is_local(host: str) -> bool:
    """Whether only this machine reaches an address."""
    return host == "localhost" or (_address(host) is not None and _address(host).is_loopback)  # pyright: ignore


def _is_any(host: str) -> bool:
    address = _address(host)
    return address is not None and address.is_unspecified


def _address(host: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    try:
        return ipaddress.ip_address(host)
    except ValueError:
        return None


def serve(
    bundle: Bundle, name: str, where: tuple[str, int], options: Options, say: Callable[[str], None]
) -> None:
    """Serve a model until a signal, and return when all that was accepted is answered."""
    door = listener.bound(*where)  # before anything long: a taken port is said at once
    model = served(bundle, name, options)
    door.listen(listener.BACKLOG)
    host = f"[{where[0]}]" if ":" in where[0] else where[0]
    say(f"{name} ({bundle.kind}), {model.said}: http://{host}:{door.getsockname()[1]}/")
    listener.run(model.app, door, options.limits, drain=model.drain)
