"""Trying chains: each as far as the model lets it, none begun when the time is over."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from time import perf_counter

from zafu import artifact
from zafu.artifact import MODEL
from zafu.compress.contract import Compression
from zafu.compress.words import chain, written
from zafu.errors import Busy, Fault, NonFinite, RecipeError, Refused
from zafu.pipeline import Event
from zafu.recipe import Recipe
from zafu.run import Run
from zafu.session import Judged, Note
from zafu.shrink.links import Place, folder_of, made, unstopped
from zafu.signals import Stop

Links = tuple[Compression, ...]


@dataclass
class Tried:
    """What has come of chains."""

    folders: dict[str, Path] = field(default_factory=dict)  # of their last links, by their words
    refused: dict[Links, str] = field(default_factory=dict)  # where chains ended, and why
    left: list[str] = field(default_factory=list)  # not begun, for lack of time

    def notes(self) -> list[str]:
        """Why chains are not there."""
        found = [f"left out: {written(links)}: {why}" for links, why in self.refused.items()]
        if self.left:
            text = "not begun for lack of time; the same command again begins them"
            found.append(f"{text}: {'; '.join(self.left)}")
        return found


def try_all(
    place: Place, chains: Sequence[str], *, until: float, stop: Stop
) -> Iterator[Event | Tried]:
    """Make chains, none begun after `until` (of perf_counter); yields what happens, at last Tried.

    What is there is taken as it is. A chain that the model refuses is noted, and so are all that
    begin alike. Raises Busy, DataError and Interrupted as `links.made`.
    """
    tried = Tried()
    for number, text in enumerate(chains, 1):
        links = chain(text)
        if perf_counter() > until and not _there(folder_of(place, links)):
            tried.left.append(text)
            continue
        yield Note(f"chain {number} of {len(chains)}: {text}")
        yield from _try(place, text, links, tried)
        unstopped(stop)
    yield tried


def _try(place: Place, text: str, links: Links, tried: Tried) -> Iterator[Event]:
    for count in range(1, len(links) + 1):
        own = links[:count]
        if own in tried.refused:
            return
        try:
            yield from _unseen(made(place, own))
        except Busy:
            raise
        except (Refused, NonFinite) as error:
            tried.refused[own] = _why(error)
            yield Note(f"left out: {written(own)}: {_why(error)}")
            return
        if _same(place, own):
            tried.refused[own] = "it changes nothing of this model"
            return
    tried.folders[text] = folder_of(place, links)


def _why(error: Exception) -> str:
    faults: tuple[Fault, ...] = error.faults if isinstance(error, RecipeError) else ()
    return "; ".join(map(str, faults)) or str(error)


def _unseen(events: Iterator[Event]) -> Iterator[Event]:
    """What happens, without what the split that judges says: it is not to be chosen by."""
    return (event for event in events if not (type(event) is Judged and event.split == "test"))


def _there(folder: Path) -> bool:
    file = folder / "recipe.yaml"
    return file.is_file() and Run(folder, Recipe.stored(file)).finished


def _same(place: Place, links: Links) -> bool:
    """Whether the last link has left the model as it was, in form and weights."""
    parent = folder_of(place, links[:-1]) if len(links) > 1 else place.source.folder
    own, before = (artifact.model_folder(f) for f in (folder_of(place, links), parent))
    if artifact.card(own)["files"][MODEL] != artifact.card(before)["files"][MODEL]:
        return False
    models = [Recipe.stored(folder / "recipe.yaml").model for folder in (own, before)]
    return models[0] == models[1]
