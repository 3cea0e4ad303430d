"""Stages: cutting a model by depth into the parts that the processes of a pipeline hold.

A stage is a copy of the model's outer modules around its share of the blocks, which are not
copied. Nothing is renamed, so a stage's parameters are found under the whole model's names. Nets
that are `Deep` can be cut, so can any `nn.Sequential`, and causal models of `transformers` whose
plan for pipelines is the common one: embedding, layers, norm (Wolf et al., 2019, arXiv:1910.03771).
"""

from __future__ import annotations

import copy
import sys
from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from zafu.errors import Refused
from zafu.layout import share
from zafu.nets.decoder import Decoder
from zafu.nets.depth import Deep, Parts

PLAN = {"embed_tokens", "layers", "norm"}  # of a `transformers` model that can be cut


def cut(model: nn.Module, index: int, stages: int) -> nn.Module:
    """A stage of the model, `0 <= index < stages`, which shares its parameters with the model.

    It takes the model's inputs (the first stage) or the stream that the stage before gives. Only
    the last stage's half of a tied parameter is its own: a copy, which `tied` names. Raises
    Refused, naming the layer, for what cannot be cut.
    """
    if stages == 1:
        return model
    if isinstance(model, nn.Sequential):
        return _sequential(model, index, stages)
    if "transformers" in sys.modules and _is_pretrained(model):
        return _pretrained(model, index, stages)
    if isinstance(model, Deep) and isinstance(model, nn.Module):
        return _deep(model, index, stages)
    raise Refused(
        f"layout.pipeline: {type(model).__name__} cannot be cut by depth: expected a nn.Sequential,"
        " or a net with enter, along, leave and parts"
    )


def tied(stage: nn.Module) -> tuple[str, ...]:
    """The parameters of a first or last stage of which the other end of the pipeline has a copy."""
    return vars(stage).get("tied", ())


def _sequential(model: nn.Sequential, index: int, stages: int) -> nn.Module:
    stage = _shell(model)
    _keep(stage, index, stages, what="nn.Sequential")
    return _as_stage(stage, partial(nn.Sequential.forward, stage), index)


def _deep(model: Any, index: int, stages: int) -> nn.Module:
    if isinstance(model, Decoder) and model.shape.end is not None:
        raise Refused(
            "layout.pipeline: attention within documents (model.attend=document) needs the tokens"
            " in every block, and later stages do not have them; use model.attend=window"
        )
    parts = model.parts()
    first, last = index == 0, index == stages - 1
    stage = _opened(model, parts)
    _keep(stage.get_submodule(parts.blocks), index, stages, what=type(model).__name__)
    wanted = (parts.first if first else ()) + (parts.last if last else ())
    for name in {*parts.first, *parts.last} - set(wanted):
        _put(stage, name, None)
    both = [name for name in parts.first if name in parts.last]
    _tie(stage, both, last=last, ends=first or last)
    return _as_stage(stage, partial(_run, stage, first=first, last=last), index)


def _run(stage: Any, *inputs: Tensor, first: bool, last: bool) -> Tensor:
    x = stage.along(stage.enter(*inputs) if first else inputs[0])
    return stage.leave(x) if last else x


def _is_pretrained(model: nn.Module) -> bool:
    from transformers import PreTrainedModel

    return isinstance(model, PreTrainedModel)


def _pretrained(model: Any, index: int, stages: int) -> nn.Module:
    """A stage of a causal model of `transformers`, which runs its own code on fewer layers."""
    name, base = type(model).__name__, model.base_model_prefix
    plan = set(model.config.get_text_config().base_model_pp_plan or ())
    head = model.get_output_embeddings()
    if plan != PLAN or model.context is None or head is None or model.base_model is model:
        raise Refused(
            f"layout.pipeline: {name} cannot be cut by depth: expected a causal model whose"
            f" base_model_pp_plan is {', '.join(sorted(PLAN))}, found {', '.join(sorted(plan))}"
        )
    if len(set(model.base_model.config.to_dict().get("layer_types") or ())) > 1:
        raise Refused(f"layout.pipeline: {name} cannot be cut: its layers are of several types")
    first, last = index == 0, index == stages - 1
    top = next(n for n, module in model.named_children() if module is head)
    embedding, norm, layers = (f"{base}.{n}" for n in ("embed_tokens", "norm", "layers"))
    stage: Any = _opened(model, Parts(layers, (embedding,), (norm, top)))
    _unchanging(model, layers, norm)
    _keep(stage.get_submodule(layers), index, stages, what=name)
    both = head.weight is model.get_input_embeddings().weight
    if not last:
        _put(stage, norm, nn.Identity())
        _put(stage, top, None)
    if not first and not (last and both):
        _put(stage, embedding, None)
    _tie(stage, [embedding] if both else [], last=last, ends=first or last)
    if last and both:
        _put(stage, top, _shell(head))
        stage.get_submodule(top).weight = stage.get_submodule(embedding).weight
    from zafu.nets.hub import adapt_stage

    adapt_stage(stage, first=first, last=last)  # pyright: ignore[reportArgumentType]
    return _as_stage(stage, vars(stage)["forward"], index)


def _unchanging(model: Any, layers: str, norm: str) -> None:
    """Refuse a model that does something to the stream outside of its layers, such as scaling."""
    empty: Any = _opened(model, Parts(layers, (), (norm,)))
    for name, _ in list(empty.get_submodule(layers).named_children()):
        delattr(empty.get_submodule(layers), name)
    _put(empty, norm, nn.Identity())
    width = model.get_input_embeddings().weight.shape[1]
    x = torch.linspace(-1, 1, 2 * width, device=model.device).reshape(1, 2, width)
    with torch.no_grad():
        found = empty.base_model(inputs_embeds=x).last_hidden_state  # pyright: ignore[reportCallIssue]
    if x.is_meta or not torch.equal(found, x):
        name = type(model).__name__
        why = "its weights are not here yet" if x.is_meta else "it scales what its layers take"
        raise Refused(f"layout.pipeline: {name} cannot be cut by depth: {why}")


def _keep(blocks: nn.Module, index: int, stages: int, *, what: str) -> None:
    """Leave only a stage's share of some blocks in their holder, in place, under their names."""
    every = blocks.named_modules(remove_duplicate=False)  # one module may stand in two places
    names = [name for name, _ in every if name and "." not in name]
    if len(names) < stages:
        expected = f"at least {stages} blocks, one for each stage"
        raise Refused(f"layout.pipeline: {what}: expected {expected}, found {len(names)}")
    owners: dict[int, int] = {}
    for number in range(stages):
        for place in share(number, stages, len(names)):
            block = blocks.get_submodule(names[place])
            for name, parameter in block.named_parameters():
                if owners.setdefault(id(parameter), number) != number:
                    raise Refused(
                        f"layout.pipeline: {what}: {names[place]}.{name} is shared by blocks of"
                        f" stages {owners[id(parameter)]} and {number}"
                    )
    mine = share(index, stages, len(names))
    for place, name in enumerate(names):
        if place not in mine:
            delattr(blocks, name)


def _opened(model: nn.Module, parts: Parts) -> nn.Module:
    """A copy of a model's outermost modules, down to the blocks and to what may be left out."""
    stage = _shell(model)
    opened: dict[str, nn.Module] = {"": stage}
    for name in (parts.blocks, *parts.first, *parts.last):
        path = name.split(".")
        depth = len(path) if name == parts.blocks else len(path) - 1
        for end in range(1, depth + 1):
            above, here = ".".join(path[: end - 1]), ".".join(path[:end])
            if here not in opened:
                opened[here] = _shell(opened[above].get_submodule(path[end - 1]))
                setattr(opened[above], path[end - 1], opened[here])
    return stage


def _shell(module: nn.Module) -> Any:
    """A copy of one module: its own registers, in which the same children and parameters stand."""
    made = copy.copy(module)
    for name, value in vars(made).items():
        if isinstance(value, dict):
            vars(made)[name] = copy.copy(value)  # children, parameters, buffers, hooks
    # These hooks hold their module weakly, and the whole model may go.
    hooks = vars(made)["_load_state_dict_pre_hooks"]
    vars(made)["_load_state_dict_pre_hooks"] = copy.deepcopy(hooks, {id(module): made})
    return made


def _put(stage: nn.Module, name: str, value: nn.Module | None) -> None:
    path, _, last = name.rpartition(".")
    setattr(stage.get_submodule(path), last, value)


def _tie(stage: nn.Module, names: list[str], *, last: bool, ends: bool) -> None:
    """Name what both ends have, and give the last stage its own copy of it, in place."""
    found: list[str] = []
    for name in names:
        if not ends:
            break
        if last:
            _put(stage, name, _shell(stage.get_submodule(name)))
        module = stage.get_submodule(name)
        for own, parameter in list(module.named_parameters(recurse=False)):
            found.append(f"{name}.{own}")
            if last:
                fresh = parameter.detach().clone(memory_format=torch.preserve_format)
                setattr(module, own, nn.Parameter(fresh, parameter.requires_grad))
    vars(stage)["tied"] = tuple(found)


def _as_stage(stage: nn.Module, forward: Callable[..., Tensor], index: int) -> nn.Module:
    """The stage, in place, with a forward of its own.

    It stays of the model's class, so that what goes by class or attribute (recomputation, the
    length of windows, the modules of an optimizer's groups) finds in it what it finds in the whole.
    """
    vars(stage)["forward"] = partial(_dense, forward, index)
    return stage


def _dense(forward: Callable[..., Tensor], index: int, *inputs: Tensor) -> Tensor:
    """What a stage gives, and the gradient it gives back, as they can be sent: without gaps."""
    if index and inputs[0].requires_grad:
        stream = inputs[0].view_as(inputs[0])
        stream.register_hook(Tensor.contiguous)
        return forward(stream).contiguous()
    return forward(*inputs).contiguous()
