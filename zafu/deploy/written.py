"""Written: what a language model writes in another runtime, beside what it writes here."""

from __future__ import annotations

from typing import cast, final

import numpy as np
import torch
from torch import Tensor

from zafu.errors import Mismatch
from zafu.export.contract import Export, Source, Speaker
from zafu.nets.sampling import Choice, Windowed, reader, sample, window_start

WRITTEN = 64  # tokens that both write
GREEDY = Choice(temperature=0)


@final
class Spoken:
    """A speaker of another runtime, for what takes and gives tensors."""

    def __init__(self, speaker: Speaker) -> None:
        self._speaker = speaker

    @property
    def context(self) -> int:
        """Most tokens that it can have read."""
        return self._speaker.context

    def read(self, tokens: Tensor) -> Tensor:
        """Logits `(vocab,)` of the token behind these `(time,)`, which follow those of before."""
        found = self._speaker.read(tokens.cpu().numpy().astype(np.int64))
        return torch.from_numpy(np.array(found, np.float32))

    def forget(self) -> None:
        """What follows begins anew."""
        self._speaker.forget()


def compared(source: Source, how: Export, speaker: Speaker) -> dict[str, int]:
    """How many likeliest tokens both write behind half a held-out window, and are the same.

    Counting ends at the first difference. Raises Mismatch if there is one where numbers keep 32
    bits and the model holds neither token for as likely as the other.
    """
    module = cast(Windowed, source.module)
    prompt = source.inputs[0][0, : max(1, source.inputs[0].shape[1] // 2)]
    own = list(sample(module, prompt, length=WRITTEN, choice=GREEDY))
    others = list(sample(Spoken(speaker), prompt, length=WRITTEN, choice=GREEDY))
    pairs = enumerate(zip(own, others, strict=True))
    equal = next((i for i, (a, b) in pairs if a != b), WRITTEN)
    found = {"tokens": WRITTEN, "equal": equal}
    if equal < WRITTEN and not how.rounds(source):
        text = torch.cat([prompt, torch.tensor(own[:equal], dtype=prompt.dtype)])
        logits = reader(module).read(text[window_start(len(text), module.context) :])
        lost = float(logits[own[equal]] - logits[others[equal]])
        if lost > how.tolerance * float(logits.abs().max()):
            expected = f"expected the same {WRITTEN} likeliest tokens"
            raise Mismatch(f"export: {expected}, found {equal}; nothing was published")
    return found
