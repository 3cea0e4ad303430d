"""Decoder: a causal language model of the Llama family; with a norm on queries and keys, Qwen3.

Sources and conventions: `zafu.nets.decoder`. The hidden size follows Touvron et al., 2023
(arXiv:2302.13971): 8/3 of the width, here rounded to a multiple of 32.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from typing import TYPE_CHECKING, Any, ClassVar, Literal, final

from pydantic import Field

from zafu.errors import Fault
from zafu.models.contract import Depth, Model, inputs_of
from zafu.models.heads import divisors, heads_divide
from zafu.signature import Signature, Tokens
from zafu.spec import Spec

if TYPE_CHECKING:
    from zafu.nets.decoder import Decoder as Net


class Transfer(Spec):
    """The narrow decoder with which learning rate and decay were tuned; else it is the same."""

    width: int = Field(ge=2)
    """Its width, >= 2; a multiple of its heads."""
    heads: int | None = Field(default=None, ge=1)
    """Its attention heads, >= 1; as many as here if not given, so that each is narrower."""


@final
class Decoder(Model):
    """Predicts the next token from those before it; its weights load in `transformers` as such."""

    kind: Literal["decoder"] = "decoder"
    ranges: ClassVar[dict[str, str]] = {"dropout": "0:0.6", "drop_path": "0:0.3"}
    takes: ClassVar[frozenset[str]] = frozenset({"tokens"})
    width: int = Field(default=256, ge=2)
    """Size of the residual stream, >= 2; a multiple of `heads`."""
    layers: int = Field(default=6, ge=1)
    """Blocks, >= 1."""
    heads: int = Field(default=4, ge=1)
    """Attention heads, >= 1; width / heads is even."""
    kv_heads: int | None = Field(default=None, ge=1)
    """Heads of keys and values, a divisor of `heads`; as many as `heads` if not given."""
    hidden: int | None = Field(default=None, ge=1)
    """Size inside the gated MLP; 8/3 of the width, to a multiple of 32, if not given."""
    rope_base: float = Field(default=10_000.0, gt=1)
    """Base of the rotary wavelengths, > 1; larger for longer contexts."""
    norm_eps: float = Field(default=1e-6, gt=0)
    """Added to the mean square in each norm, > 0."""
    qk_norm: bool = False
    """Whether queries and keys are normalized, as in Qwen3: steadier at high learning rates."""
    attend: Literal["window", "document"] = "window"
    """Whether tokens look at the whole window before them, or at their own document alone."""
    tied: bool = False
    """Whether the embedding is the head's matrix too: fewer parameters in small models."""
    init_std: float = Field(default=0.02, gt=0, le=1)
    """Standard deviation of the first weights, 0 < s <= 1; those of branch outputs are smaller."""
    transfer: Transfer | None = None
    """Take on the settings of a narrow decoder: weights and steps follow the width (muP)."""
    dropout: float = Field(default=0.0, ge=0, lt=1)
    """Share of the embedding's and each branch's outputs set to 0 in training, 0 <= p < 1."""
    drop_path: float = Field(default=0.0, ge=0, lt=1)
    """Share of samples for which the last layer's branches are skipped in training, 0 <= p < 1."""

    def check(self) -> Iterable[Fault]:
        """Heads must share the width evenly, in pairs of dims that rotate together."""
        yield from heads_divide(self.width, self.heads, multiple=2)
        if self.kv_heads and self.heads % self.kv_heads:
            known = ", ".join(str(n) for n in divisors(self.heads))
            yield Fault("kv_heads", f"a divisor of heads ({known})", str(self.kv_heads))
        if base := self.transfer:
            for fault in heads_divide(base.width, base.heads or self.heads, multiple=2):
                yield replace(fault, path=f"transfer.{fault.path}")

    def fits(self, signature: Signature) -> Iterable[Fault]:
        """The answer must be one of the tokens."""
        inputs = signature.inputs
        if isinstance(inputs, Tokens) and signature.outputs != inputs.vocab:
            expected = f"a task with one output a token ({inputs.vocab})"
            yield Fault("kind", expected, f"{signature.outputs} outputs")

    def build(self, signature: Signature) -> Net:
        """The module `(batch, time) -> (batch, time, vocab)`."""
        from zafu.nets.decoder import Decoder as Net
        from zafu.nets.decoder import Shape

        inputs = inputs_of(signature, Tokens)
        base = self.transfer or Transfer(width=self.width)
        wider = self.width / base.width
        return Net(
            Shape(
                vocab=inputs.vocab,
                context=inputs.context,
                width=self.width,
                layers=self.layers,
                heads=self.heads,
                kv_heads=self.kv_heads or self.heads,
                hidden=self._hidden,
                rope_base=self.rope_base,
                norm_eps=self.norm_eps,
                init_std=self.init_std,
                qk_norm=self.qk_norm,
                tied=self.tied,
                dropout=self.dropout,
                drop_path=self.drop_path,
                end=inputs.end if self.attend == "document" else None,
                wider=wider,
                wider_heads=wider * (base.heads or self.heads) / self.heads,
            )
        )

    def parameter_count(self, signature: Signature) -> int:
        """The number of parameters, in closed form."""
        found = self.by_depth(signature)
        return found.first + self.layers * found.block + found.last

    def by_depth(self, signature: Signature) -> Depth:
        """Sizes of the embedding, of a block and of norm and head, and of what passes through."""
        inputs, head_dim = inputs_of(signature, Tokens), self.width // self.heads
        kv_width = (self.kv_heads or self.heads) * head_dim
        attention = 2 * self.width * (self.width + kv_width) + 2 * head_dim * self.qk_norm
        embedding = inputs.vocab * self.width
        return Depth(
            first=embedding,
            block=attention + 3 * self.width * self._hidden + 2 * self.width,
            last=self.width + embedding * (not self.tied),
            tied=embedding * self.tied,
            stream=inputs.context * self.width,
            keys=2 * inputs.context * kv_width,
            answers=inputs.context,
            whole=(0, 2 * self.width + 2 * head_dim * self.qk_norm, self.width),
        )

    def widths(self) -> dict[str, int]:
        """Heads, and the MLP's hidden units."""
        heads = {"model.heads": self.heads, "model.kv_heads": self.kv_heads or self.heads}
        return {**heads, "model.hidden": self._hidden}

    def depth(self) -> int:
        """The layers."""
        return self.layers

    def attends(self) -> bool:
        """It does."""
        return True

    def cuts_stream(self) -> bool:
        """Between blocks, in time."""
        return True

    def cuts_windows(self) -> bool:
        """If attention looks at all of the window."""
        return self.attend == "window"

    def sees_documents(self) -> bool:
        """If attention ends where a document begins."""
        return self.attend == "document"

    def transfers(self) -> bool:
        """If it is told from where."""
        return self.transfer is not None

    def random_paths(self) -> bool:
        """With stochastic depth."""
        return self.drop_path > 0

    def hub_config(self, signature: Signature) -> dict[str, Any]:
        """The `config.json` of a Llama, or of a Qwen3 where queries and keys are normalized."""
        inputs = inputs_of(signature, Tokens)
        name, model_type = ("Qwen3", "qwen3") if self.qk_norm else ("Llama", "llama")
        return {
            "architectures": [f"{name}ForCausalLM"],
            "model_type": model_type,
            "vocab_size": inputs.vocab,
            "max_position_embeddings": inputs.context,
            "hidden_size": self.width,
            "intermediate_size": self._hidden,
            "num_hidden_layers": self.layers,
            "num_attention_heads": self.heads,
            "num_key_value_heads": self.kv_heads or self.heads,
            "head_dim": self.width // self.heads,
            "hidden_act": "silu",
            "rms_norm_eps": self.norm_eps,
            "rope_theta": self.rope_base,  # read by transformers 4 and by most servers
            "rope_parameters": {"rope_type": "default", "rope_theta": self.rope_base},
            "tie_word_embeddings": self.tied,
            "attention_bias": False,
            "attention_dropout": 0.0,
            "initializer_range": self.init_std,
            "bos_token_id": None,
            "eos_token_id": None,
            "dtype": "float32",
        }

    @property
    def _hidden(self) -> int:
        return self.hidden or max(32, round(self.width * 8 / 3 / 32) * 32)
