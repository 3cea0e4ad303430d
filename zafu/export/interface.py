"""The interface of an exported folder, `io.json`: what goes in and comes out, without zafu.

Enough for a program in any language to make inputs of a raw sample and to read the answer.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from zafu.evaluation import calibration
from zafu.export.contract import Export, Source
from zafu.signature import Columns, Pixels, Tokens

FILE = "io.json"


def described(source: Source, how: Export) -> dict[str, Any]:
    """Inputs, how they come from raw samples (empty: by zafu alone), and the output; plain data.

    A size of null may be any.
    """
    return {
        "inputs": _inputs(source, how),
        "from": source.recipe.data.interface(source.fitted),
        "output": _output(source, how),
    }


def _inputs(source: Source, how: Export) -> list[dict[str, Any]]:
    match source.signature.inputs:
        case Tokens() as tokens:
            shapes = [_length(tokens, how)]
        case Pixels() as pixels:
            shapes = [(pixels.channels, pixels.height, pixels.width)]
        case Columns() as columns:
            shapes = [(columns.numbers,), (len(columns.categories),)]
    return [
        {
            "name": name,
            "type": "float32" if given.is_floating_point() else how.integers,
            "shape": [how.at_once, *shape],
        }
        for name, given, shape in zip(how.inputs(source), source.inputs, shapes, strict=False)
    ]


def _output(source: Source, how: Export) -> dict[str, Any]:
    signature, data = source.signature, source.recipe.data
    time = _length(signature.inputs, how) if isinstance(signature.inputs, Tokens) else ()
    shape = [how.at_once, *time, signature.outputs]
    match source.recipe.task.kind:
        case "classification":
            fitted = calibration.stored(source.fitted)
            return {
                "shape": shape,
                "labels": signature.labels,
                "temperature": fitted.temperature if fitted else 1.0,
                "meaning": "softmax(output / temperature): the probability of each label",
            }
        case "regression":
            both = np.array([[0.0], [1.0]]).repeat(signature.outputs, 1)
            zero, one = data.in_units(source.fitted, both).tolist()
            return {
                "shape": shape,
                "labels": signature.labels,
                "multiply": [b - a for a, b in zip(zero, one, strict=True)],
                "then_add": zero,
                "meaning": "numbers, in the data's units once they are multiplied and added to",
            }
        case _:
            return {"shape": shape, "meaning": "softmax(output): the probability of the next token"}


def _length(tokens: Tokens, how: Export) -> tuple[int | None]:
    return (tokens.context if how.at_once else None,)
