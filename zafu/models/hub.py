"""Hub: any `transformers` model for next tokens or pictures, from a folder or from its sizes.

Wolf et al., 2019 (arXiv:1910.03771). Vocabulary, labels and picture size come from the data. No
network is touched, no code is run but that of the installed package, and no pickle is read.
"""

from __future__ import annotations

from collections.abc import Iterable
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal, final

from pydantic import Field

from zafu.errors import Damaged, Fault, MissingExtra, RecipeError
from zafu.models import hub_config
from zafu.models.contract import Model
from zafu.signature import Signature, Tokens

if TYPE_CHECKING:
    from transformers import PreTrainedConfig, PreTrainedModel


@final
class Hub(Model):
    """An architecture of the hub, from a folder on this machine or described in place."""

    kind: Literal["hub"] = "hub"
    takes: ClassVar[frozenset[str]] = frozenset({"tokens", "pixels"})
    path: str | None = Field(default=None, min_length=1)
    """Folder with a `config.json`, and `*.safetensors` if `weights` is true."""
    config: dict[str, Any] | None = None
    """In place of `path`: `model_type` and sizes, under the names of its `transformers` config."""
    weights: bool = False
    """Whether training starts from the folder's weights; without, only its sizes are used."""

    def check(self) -> Iterable[Fault]:
        """There must be one source, and weights need a folder."""
        if (self.path is None) == (self.config is None):
            yield Fault("path", "either path or config", "both" if self.path else "neither")
        if self.config is not None and not isinstance(self.config.get("model_type"), str):
            yield Fault("config.model_type", "the name of an architecture, such as gpt2", "nothing")
        if self.weights and self.path is None:
            yield Fault("weights", "false, or a path to load them from", "true")

    def fits(self, signature: Signature) -> Iterable[Fault]:
        """The architecture must be known, take such data, and be possible in these sizes."""
        try:
            self.parameter_count(signature)
        except MissingExtra as error:
            yield Fault("kind", "an installed package", "none", hint=str(error))
        except RecipeError as error:
            for fault in error.faults:
                path = fault.path.removeprefix("model.")
                yield Fault(path, fault.expected, fault.found, hint=fault.hint)

    def build(self, signature: Signature) -> PreTrainedModel:
        """The `transformers` model itself, which answers a tensor with logits.

        Raises RecipeError for what cannot be built, Damaged for weights that do not fit.
        """
        config = self._config(signature)
        config.get_text_config().use_cache = False  # keys and values are not kept while training
        model = self._loaded(signature, config) if self.weights else _fresh(signature, config)
        from zafu.nets.hub import adapt

        inputs = signature.inputs
        context = inputs.context if isinstance(inputs, Tokens) else None
        return adapt(model.train(), outputs=signature.outputs, context=context)

    def parameter_count(self, signature: Signature) -> int:
        """The number of trainable parameters, from a model that is built without memory."""
        config = self._config(signature)
        import torch

        try:
            with torch.device("meta"):
                model = _fresh(signature, config)
        except (*hub_config.REFUSALS, AssertionError) as error:
            expected = "sizes with which transformers builds a model"
            raise RecipeError([Fault("model.config", expected, str(error))]) from None
        return sum(p.numel() for p in model.parameters())

    def widths(self) -> dict[str, int]:
        """Heads and hidden units, where `transformers` publishes a tensor plan."""
        config = hub_config.parsed(self._given()).get_text_config()
        names = ("num_attention_heads", "num_key_value_heads", "intermediate_size")
        found = {f"model.config.{n}": getattr(config, n, None) for n in names}
        sizes = {name: size for name, size in found.items() if isinstance(size, int)}
        return sizes if config.base_model_tp_plan else {}

    def depth(self) -> int:
        """The layers, where `transformers` publishes a pipeline plan."""
        config = hub_config.parsed(self._given()).get_text_config()
        return config.num_hidden_layers if config.base_model_pp_plan else 0

    def hub_config(self, signature: Signature) -> dict[str, Any]:
        """The `config.json` of the model, in the sizes that the data has."""
        config = self._config(signature)
        name = hub_config.architecture(config.model_type, signature)
        plain = {key: value for key, value in config.to_dict().items() if key != "_name_or_path"}
        return {**plain, "architectures": [name], "dtype": "float32"}

    def _config(self, signature: Signature) -> PreTrainedConfig:
        if find_spec("transformers") is None:
            raise MissingExtra("transformers", "hub")
        given = self._given()
        hub_config.architecture(given["model_type"], signature)
        if self.weights:
            config = hub_config.parsed(given)
        else:
            config = hub_config.complete(given, signature, typed=self.path is None)
        if not isinstance(signature.inputs, Tokens):
            hub_config.label(config, signature)
        if faults := list(hub_config.misfits(config, signature)):
            raise RecipeError(faults)
        return config

    def _given(self) -> dict[str, Any]:
        if self.path is not None:
            return hub_config.read(Path(self.path), weights=self.weights)
        return self.dump()["config"]  # as plain data, in which lists are lists

    def _loaded(self, signature: Signature, config: PreTrainedConfig) -> PreTrainedModel:
        """The model with the folder's weights; only a head of other classes starts afresh."""
        tokens = isinstance(signature.inputs, Tokens)
        try:
            model, report = _auto(signature).from_pretrained(
                self.path,
                config=config,
                dtype="float32",
                local_files_only=True,
                trust_remote_code=False,
                use_safetensors=True,
                ignore_mismatched_sizes=not tokens,
                output_loading_info=True,
            )
        except (OSError, *hub_config.REFUSALS) as error:
            raise Damaged(f"{self.path}: expected weights of its config.json, {error}") from None
        absent = {*report["missing_keys"], *(key for key, *_ in report["mismatched_keys"])}
        body = f"{model.base_model_prefix}."
        if wrong := sorted(key for key in absent if tokens or key.startswith(body)):
            names = ", ".join(wrong[:5])
            raise Damaged(f"{self.path}: expected {len(wrong)} more weights, such as {names}")
        return model


def _fresh(signature: Signature, config: PreTrainedConfig) -> PreTrainedModel:
    return _auto(signature).from_config(config, trust_remote_code=False, dtype="float32")


def _auto(signature: Signature) -> Any:
    from transformers import AutoModelForCausalLM, AutoModelForImageClassification

    tokens = isinstance(signature.inputs, Tokens)
    return AutoModelForCausalLM if tokens else AutoModelForImageClassification
