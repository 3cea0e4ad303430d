"""llama.cpp, by the server that `xllamacpp` runs inside of this process."""

from __future__ import annotations

from pathlib import Path
from typing import Any, NamedTuple, final

import numpy as np

from zafu.errors import Damaged, Mismatch
from zafu.export.contract import Answers
from zafu.export.runtime.gguf_file import DOCUMENT, FILE

LETTER = "a"  # a token that every vocabulary of bytes has


class _Facts(NamedTuple):
    context: int
    vocab: int
    letter: int
    end: int | None  # the token before which attention does not look


@final
class Llama:
    """A model that says how likely each token is behind the last one, and keeps what it read.

    Keys and values have 32 bits where the weights have, else 16, as llama.cpp has it by itself.
    """

    def __init__(self, folder: Path, threads: int, *, rounded: bool) -> None:
        import xllamacpp

        path = folder / FILE
        self.context, self._vocab, self._letter, self._end = _facts(path)
        library: Any = xllamacpp  # its names are in compiled code
        params = library.CommonParams()
        params.model.path = str(path)
        params.n_ctx, params.n_parallel = self.context + 1, 1
        params.cpuparams.n_threads = params.cpuparams_batch.n_threads = threads
        params.warmup, params.verbosity = False, -1
        params.cache_ram_mib = 0
        if not rounded:
            whole = library.ggml_type.GGML_TYPE_F32
            params.cache_type_k = params.cache_type_v = whole
            off = library.llama_flash_attn_type.LLAMA_FLASH_ATTN_TYPE_DISABLED
            params.flash_attn_type = off
        self._server: Any = library.Server(params)
        self._tokens = list[int]()

    def read(self, tokens: np.ndarray) -> np.ndarray:
        """Logarithms of the likelihood `(vocab,)` of the token behind these and those before."""
        self._tokens += tokens.tolist()
        return self.behind(self._tokens, keep=True)

    def forget(self) -> None:
        """What follows begins anew."""
        self._tokens = []

    def behind(self, tokens: list[int], *, keep: bool) -> np.ndarray:
        """The same behind a whole text; `keep` says whether what was read may be used again."""
        if self._end is not None and self._end in tokens:  # attention does not look before it
            tokens = tokens[len(tokens) - 1 - tokens[::-1].index(self._end) :]
        asked = {"prompt": tokens, "n_predict": 1, "n_probs": self._vocab, "cache_prompt": keep}
        # an end or half a character would be no answer; likelihoods are those from before the bias
        always = {"temperature": 0.0, "logit_bias": [[self._letter, 1e6]]}
        answer = self._server.handle_completions({**asked, **always})
        if "choices" not in answer:
            raise Mismatch(f"export: llama.cpp gave no answer to {len(tokens)} tokens: {answer}")
        found = np.full(self._vocab, -np.inf, np.float32)
        for one in answer["choices"][0]["logprobs"]["content"][0]["top_logprobs"]:
            found[one["id"]] = one["logprob"]
        return found


def opened(folder: Path, threads: int, *, rounded: bool) -> Answers:
    """What it says of the last token of each row `(batch, time)`, each read from its beginning."""
    model = Llama(folder, threads, rounded=rounded)

    def answers(tokens: np.ndarray) -> np.ndarray:
        return np.stack([model.behind(row, keep=False) for row in tokens.tolist()])[:, None]

    return answers


def _facts(path: Path) -> _Facts:
    """What asking it takes."""
    from gguf import GGUFReader

    fields = GGUFReader(path).fields
    try:
        arch = fields["general.architecture"].contents()
        context = int(fields[f"{arch}.context_length"].contents()) - 1
        tokens = fields["tokenizer.ggml.tokens"].contents()
        end = fields[DOCUMENT].contents() if DOCUMENT in fields else None
        return _Facts(context, len(tokens), tokens.index(LETTER), end)
    except (KeyError, ValueError) as error:
        raise Damaged(f"{path}: expected a decoder with its tokenizer: {error}") from None
