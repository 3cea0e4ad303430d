"""Engine: who computes trials. The outcome of a trial does not depend on it.

`sequential`: one after the other, in this process.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

from zafu.trial import Outcome, Trial, outcome

Say = Callable[[str], None]
Stopped = Callable[[], str]  # the signal that asked to stop, if one has


def outcomes(
    trials: Sequence[Trial],
    *,
    how: str = "auto",
    say: Say = lambda _: None,
    stopped: Stopped = lambda: "",
) -> Iterator[tuple[int, Outcome]]:
    """Yields each trial's number in the sequence and its outcome, as soon as that is known.

    `how` is auto or one of the engines above; `say` hears which one was chosen, and why. Raises
    Interrupted after a signal: what was not yielded is lost.
    """
    for number, trial in enumerate(trials):
        yield number, outcome(trial, stopped)
