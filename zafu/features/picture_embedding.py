"""Embedding of pictures: the mean over places of what a vision model's last layer makes of them.

A model of `transformers` (such as a ViT, Dosovitskiy et al., 2020, arXiv:2010.11929) in a folder of
this machine; nothing is trained. Pictures are resized to the model's size and normalized as its
`preprocessor_config.json` says, else from -1 to 1; gray ones are repeated for models of color.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar, Literal, final

import numpy as np
from pydantic import Field

from zafu.features import local_model
from zafu.features import pictures as shapes
from zafu.features.contract import PictureFeature, State

if TYPE_CHECKING:
    import torch


@final
class PictureEmbedding(PictureFeature):
    """The mean of a vision model's last layer."""

    kind: Literal["embedding"] = "embedding"
    needs: ClassVar[tuple[tuple[str, str], ...]] = (("transformers", "hub"),)
    path: str = Field(min_length=1)
    """Folder with `config.json` and `*.safetensors`; also needed to predict."""
    batch: int = Field(default=32, ge=1, le=4096)
    """Pictures that the model sees together, 1 to 4096."""

    def fit(self, pictures: np.ndarray, *, seed: int) -> State:
        """The digest of the model's files; raises DataError where there are none."""
        local_model.require_transformers()
        return {**shapes.state(pictures), **local_model.digest(self.path)}

    def apply(self, state: State, pictures: np.ndarray) -> np.ndarray:
        """A vector as wide as the model's last layer for each picture."""
        import torch

        if not len(pictures):  # as wide as any
            return self.apply(state, np.zeros((1, *pictures.shape[1:]), np.uint8))[:0]
        shapes.expect(state, pictures)
        model = local_model.load(self.path, state, "pixel_values")
        config = model.config.to_dict()
        how = local_model.settings(self.path, "preprocessor_config.json")
        found: list[np.ndarray] = []
        with torch.inference_mode():
            for start in range(0, len(pictures), self.batch):
                pixels = torch.from_numpy(np.array(pictures[start : start + self.batch]))
                last = model(pixel_values=prepared(pixels, config, how)).last_hidden_state
                # (n, places, width) of a transformer, (n, width, h, w) of a convolutional one
                found.append((last.mean(1) if last.ndim == 3 else last.mean((2, 3))).numpy())
        return np.concatenate(found)


def prepared(pixels: torch.Tensor, config: dict[str, Any], how: dict[str, Any]) -> torch.Tensor:
    """Pictures `(n, channels, height, width)` uint8 in the model's size and scale, float32.

    Raises DataError where they have other channels than the model.
    """
    import torch
    from torch.nn import functional

    channels = int(config.get("num_channels") or 3)
    if pixels.shape[1] == 1:
        pixels = pixels.expand(-1, channels, -1, -1)
    if pixels.shape[1] != channels:
        shapes.refuse(f"pictures of {channels} channels", str(pixels.shape[1]))
    side = config.get("image_size")
    size = [side, side] if isinstance(side, int) else list(side or pixels.shape[2:])
    values = pixels.float()
    if size != list(pixels.shape[2:]):
        values = functional.interpolate(values, size, mode="bilinear", antialias=True)
    shape = (-1, 1, 1)
    mean, std = (
        torch.tensor(how.get(name) or 0.5, dtype=torch.float32).reshape(shape)
        for name in ("image_mean", "image_std")
    )
    return (values / 255 - mean) / std
