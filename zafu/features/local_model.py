"""A model of `transformers` in a folder of this machine, whose last layer describes its input.

Wolf et al., 2019 (arXiv:1910.03771). No network is touched, no code is run but that of the
installed package, and no pickle is read.
"""

from __future__ import annotations

import json
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, NoReturn

import numpy as np

from zafu.artifact import digest_file
from zafu.errors import Damaged, DataError, MissingExtra
from zafu.spec import digest_of

if TYPE_CHECKING:
    from transformers import PreTrainedModel

    from zafu.features.contract import State

# Python's errors with which a model of `transformers` refuses what is in a folder
REFUSALS = (OSError, ValueError, TypeError, RuntimeError, LookupError, AttributeError)
_READ = (".json", ".safetensors", ".txt", ".model")  # files on which an answer depends
_ELSEWHERE = ("auto_map", "attn_implementation", "experts_implementation")  # may name code to fetch


def digest(path: str) -> dict[str, np.ndarray]:
    """The digest of a model's folder, as what was fitted; raises DataError if it holds none."""
    folder = Path(path)
    if not (folder / "config.json").is_file():
        _refuse(path, "a folder with a config.json", "none")
    if not any(folder.glob("*.safetensors")):
        _refuse(path, "weights in *.safetensors", "none")
    files = sorted(file for file in folder.iterdir() if file.suffix in _READ)
    found = digest_of({file.name: digest_file(file) for file in files})
    return {"model": np.array([found])}


def load(path: str, state: State, takes: Literal["input_ids", "pixel_values"]) -> PreTrainedModel:
    """The model for evaluation, in float32 on the CPU.

    Raises DataError if the folder has changed since the fit or the model takes something else,
    Damaged if its weights do not fit.
    """
    require_transformers()
    if digest(path)["model"].item() != state["model"].item():
        _refuse(path, "the model as it was when this was fitted", "other files")
    from safetensors import SafetensorError
    from transformers import AutoConfig, AutoModel

    given = settings(path, "config.json")
    try:
        config = AutoConfig.for_model(**{k: v for k, v in given.items() if k not in _ELSEWHERE})
        model, report = AutoModel.from_pretrained(
            path,
            config=config,
            dtype="float32",
            local_files_only=True,
            trust_remote_code=False,
            use_safetensors=True,
            output_loading_info=True,
        )
    except (SafetensorError, *REFUSALS) as error:
        raise Damaged(f"{path}: expected a model of transformers, {error}") from None
    # a pooler reads the last layer, which is all that is used here
    if absent := sorted(key for key in report["missing_keys"] if not key.startswith("pooler.")):
        names = ", ".join(absent[:5])
        raise Damaged(f"{path}: expected {len(absent)} more weights, such as {names}")
    if model.main_input_name != takes or model.config.is_encoder_decoder:
        _refuse(path, f"a model that takes {takes} alone", str(model.config.model_type))
    return model.eval()


def require_transformers() -> None:
    """Raises MissingExtra where transformers is not installed."""
    if find_spec("transformers") is None:
        raise MissingExtra("transformers", "hub")


def settings(path: str, name: str) -> dict[str, Any]:
    """A JSON file of the folder, empty if there is none."""
    file = Path(path) / name
    try:
        return json.loads(file.read_text("utf-8")) if file.is_file() else {}
    except ValueError as error:
        raise Damaged(f"{file}: expected JSON, {error}") from None


def _refuse(path: str, expected: str, found: str) -> NoReturn:
    raise DataError(f"{path}: expected {expected}, found {found}")
