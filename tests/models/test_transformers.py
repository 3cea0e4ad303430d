"""Weights travel both ways between our decoder and `transformers`, whose models are ours too."""

import copy
import json
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.torch import load_file, save_file
from torch import nn
from transformers import AutoModelForCausalLM, AutoModelForImageClassification, PreTrainedModel

from zafu.errors import Damaged, MissingExtra, RecipeError
from zafu.models.decoder import Decoder
from zafu.models.heads import divisors
from zafu.models.hub import Hub
from zafu.nets.sampling import Choice, sample
from zafu.signature import Columns, Pixels, Signature, Tokens

text = Signature(inputs=Tokens(vocab=23, context=16), outputs=23)
picture = Signature(
    inputs=Pixels(channels=1, height=8, width=8), outputs=3, labels=("cat", "dog", "newt")
)
tokens = torch.arange(32).view(2, 16) * 7 % 23
pixels = torch.linspace(-1, 1, 128).view(2, 1, 8, 8)

llama = {
    "model_type": "llama",
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
}
gpt2 = {"model_type": "gpt2", "n_embd": 32, "n_layer": 2, "n_head": 4}
vit = {
    "model_type": "vit",
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 1,
    "num_attention_heads": 2,
    "patch_size": 2,
}
resnet = {
    "model_type": "resnet",
    "embedding_size": 8,
    "hidden_sizes": [8, 16],
    "depths": [1, 1],
    "layer_type": "basic",
}


@st.composite
def decoders(draw: st.DrawFn) -> Decoder:
    heads = draw(st.integers(1, 4))
    return Decoder(
        width=2 * heads * draw(st.integers(1, 8)),
        layers=draw(st.integers(1, 3)),
        heads=heads,
        kv_heads=draw(st.sampled_from([None, *divisors(heads)])),
        hidden=draw(st.none() | st.integers(1, 50)),
        rope_base=draw(st.sampled_from([100.0, 10_000.0, 1e6])),
        norm_eps=draw(st.sampled_from([1e-6, 1e-5])),
        qk_norm=draw(st.booleans()),
        tied=draw(st.booleans()),
    )


def built(model: Decoder | Hub, signature: Signature = text) -> nn.Module:
    """A module in evaluation, with weights large enough for logits to differ; norms not all 1."""
    torch.manual_seed(0)
    module = model.build(signature).eval()
    with torch.no_grad():
        for weight in module.parameters():
            weight.mul_(4) if weight.dim() > 1 else weight.add_(torch.rand_like(weight))
    return module


def save(folder: Path, state: dict[str, torch.Tensor], config: dict[str, Any]) -> Path:
    """A folder as the hub has it."""
    folder.mkdir(parents=True, exist_ok=True)
    save_file(state, folder / "model.safetensors", metadata={"format": "pt"})
    (folder / "config.json").write_text(json.dumps(config))
    return folder


def load(folder: Path, auto: Any = AutoModelForCausalLM) -> PreTrainedModel:
    """The folder's model by `transformers` alone; every weight must be found."""
    model, report = auto.from_pretrained(
        folder, local_files_only=True, dtype=torch.float32, output_loading_info=True
    )
    assert not any(report.values()), report
    return model.eval()


@settings(deadline=None, max_examples=15)
@given(decoder=decoders())
def test_transformers_loads_our_weights_and_gives_the_same_logits(
    decoder: Decoder, tmp_path_factory: pytest.TempPathFactory
) -> None:
    ours = built(decoder)
    folder = tmp_path_factory.mktemp("hub")
    save(folder, ours.state_dict(), decoder.hub_config(text))

    theirs = load(folder)

    assert type(theirs).__name__ == ("Qwen3" if decoder.qk_norm else "Llama") + "ForCausalLM"
    torch.testing.assert_close(ours(tokens), theirs(tokens).logits, rtol=1e-5, atol=1e-5)


@settings(deadline=None, max_examples=15)
@given(decoder=decoders())
def test_weights_of_transformers_load_into_ours_without_renaming(
    decoder: Decoder, tmp_path_factory: pytest.TempPathFactory
) -> None:
    theirs = built(Hub(config=decoder.hub_config(text)))
    folder = tmp_path_factory.mktemp("hub")
    theirs.save_pretrained(folder)
    ours = decoder.build(text).eval()

    ours.load_state_dict(load_file(folder / "model.safetensors"))

    torch.testing.assert_close(ours(tokens), theirs(tokens), rtol=1e-5, atol=1e-5)


def test_a_state_dict_in_memory_loads_too_where_the_tied_head_has_two_names(tmp_path: Path) -> None:
    decoder = Decoder(width=32, layers=1, heads=2, tied=True)
    theirs = load(save(tmp_path, built(decoder).state_dict(), decoder.hub_config(text)))

    ours = decoder.build(text).eval()
    ours.load_state_dict(theirs.state_dict())

    assert "lm_head.weight" in theirs.state_dict()
    torch.testing.assert_close(ours(tokens), theirs(tokens).logits, rtol=1e-5, atol=1e-5)


def test_transformers_continues_a_text_as_we_do(tmp_path: Path) -> None:
    decoder = Decoder(width=32, layers=2, heads=4, kv_heads=2, qk_norm=True)
    ours = built(decoder)
    theirs = load(save(tmp_path, ours.state_dict(), decoder.hub_config(text)))

    own = list(sample(ours, tokens[0, :4], length=12, choice=Choice(temperature=0)))

    generated = theirs.generate(
        tokens[:1, :4],
        attention_mask=torch.ones(1, 4, dtype=torch.int64),
        max_new_tokens=12,
        do_sample=False,
    )
    assert own == generated[0, 4:].tolist()


@pytest.mark.parametrize("config", [llama, {**llama, "tie_word_embeddings": True}, gpt2])
def test_a_text_model_of_the_hub_answers_logits_under_its_own_names(
    config: dict[str, Any], tmp_path: Path
) -> None:
    hub = Hub(config=config)
    model = built(hub)
    save(tmp_path, model.state_dict(), hub.hub_config(text))

    alone = load(tmp_path)

    assert model(tokens).shape == (2, 16, 23)
    assert torch.equal(model(tokens), alone(tokens).logits)
    assert set(model.state_dict()) <= set(alone.state_dict())
    assert hub.parameter_count(text) == sum(p.numel() for p in model.parameters())


@pytest.mark.parametrize("config", [vit, resnet])
def test_a_picture_model_of_the_hub_answers_logits_under_its_own_names(
    config: dict[str, Any], tmp_path: Path
) -> None:
    hub = Hub(config=config)
    model = built(hub, picture)
    save(tmp_path, model.state_dict(), hub.hub_config(picture))

    alone = load(tmp_path, AutoModelForImageClassification)

    assert model(pixels).shape == (2, 3)
    assert torch.equal(model(pixels), alone(pixels).logits)
    assert list(model.state_dict()) == list(alone.state_dict())
    assert alone.config.id2label == {0: "cat", 1: "dog", 2: "newt"}


def test_a_hub_model_comes_back_from_its_own_state_dict_and_from_a_copy() -> None:
    hub = Hub(config={**llama, "tie_word_embeddings": True})
    model = built(hub)
    fresh = hub.build(text).eval()

    fresh.load_state_dict(model.state_dict())
    copied = copy.deepcopy(model)

    assert "lm_head.weight" not in model.state_dict()
    assert torch.equal(fresh(tokens), model(tokens))
    assert torch.equal(copied(tokens), model(tokens))


@pytest.mark.parametrize("config", [llama, gpt2])
def test_a_hub_model_recomputes_with_the_same_gradients_to_the_bit(config: dict[str, Any]) -> None:
    stored = built(Hub(config=config)).train()
    again = copy.deepcopy(stored)
    again.recompute = True
    kept: list[int] = []

    for model in (stored, again):
        torch.manual_seed(1)  # gpt2 drops out
        kept.append(0)

        def pack(tensor: torch.Tensor) -> torch.Tensor:
            kept[-1] += tensor.numel()
            return tensor

        with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
            loss = model(tokens).square().sum()
        loss.backward()

    assert kept[1] < kept[0] / 1.5
    for one, other in zip(stored.parameters(), again.parameters(), strict=True):
        assert torch.equal(one.grad, other.grad)


def test_a_hub_model_continues_a_text_without_a_cache() -> None:
    model = built(Hub(config=llama))

    continued = list(sample(model, tokens[0, :4], length=30, choice=Choice(temperature=0)))

    assert len(continued) == 30
    assert model.context == 16


def test_weights_of_a_folder_are_loaded_only_where_the_recipe_says_so(tmp_path: Path) -> None:
    decoder = Decoder(width=32, layers=1, heads=2)
    ours = built(decoder)
    save(tmp_path, ours.state_dict(), decoder.hub_config(text))

    loaded = Hub(path=str(tmp_path), weights=True).build(text)
    fresh = Hub(path=str(tmp_path)).build(text)

    assert loaded.training
    torch.testing.assert_close(loaded.eval()(tokens), ours(tokens), rtol=1e-5, atol=1e-5)
    assert not torch.allclose(fresh.eval()(tokens), ours(tokens), atol=1e-2)


def test_a_vocabulary_that_was_padded_is_cut_to_the_tokens_of_the_data(tmp_path: Path) -> None:
    decoder = Decoder(width=32, layers=1, heads=2)
    padded = Signature(inputs=Tokens(vocab=32, context=16), outputs=32)
    ours = built(decoder, padded)
    save(tmp_path, ours.state_dict(), decoder.hub_config(padded))

    model = Hub(path=str(tmp_path), weights=True).build(text).eval()

    torch.testing.assert_close(model(tokens), ours(tokens)[..., :23], rtol=1e-5, atol=1e-5)
    assert Hub(path=str(tmp_path), weights=True).hub_config(text)["vocab_size"] == 32


def test_other_classes_give_loaded_weights_a_new_head_and_nothing_else(tmp_path: Path) -> None:
    hub = Hub(config=vit)
    old = built(hub, picture)
    save(tmp_path, old.state_dict(), hub.hub_config(picture))
    other = Signature(inputs=picture.inputs, outputs=5)

    state = Hub(path=str(tmp_path), weights=True).build(other).state_dict()

    assert state["classifier.weight"].shape == (5, 32)
    for name, weight in old.state_dict().items():
        assert name.startswith("classifier") or torch.equal(state[name], weight)


def test_weights_that_are_missing_are_refused(tmp_path: Path) -> None:
    decoder = Decoder(width=32, layers=1, heads=2)
    state = built(decoder).state_dict()
    del state["model.layers.0.mlp.up_proj.weight"]
    save(tmp_path, state, decoder.hub_config(text))

    with pytest.raises(Damaged, match=r"1 more weights.*up_proj"):
        Hub(path=str(tmp_path), weights=True).build(text)


def test_pickled_weights_are_never_read(tmp_path: Path) -> None:
    decoder = Decoder(width=32, layers=1, heads=2)
    (tmp_path / "config.json").write_text(json.dumps(decoder.hub_config(text)))
    torch.save(built(decoder).state_dict(), tmp_path / "pytorch_model.bin")
    hub = Hub(path=str(tmp_path), weights=True)

    (fault,) = hub.fits(text)

    assert "*.safetensors" in fault.expected
    assert "pickle (pytorch_model.bin)" in fault.found
    with pytest.raises(RecipeError, match="pickle"):
        hub.build(text)


def test_code_beside_the_weights_is_never_run(tmp_path: Path) -> None:
    proof = tmp_path / "ran"
    code = f"from pathlib import Path\nPath({str(proof)!r}).touch()\nclass Own: pass\n"
    (tmp_path / "own.py").write_text(code)
    auto_map = {"AutoConfig": "own.Own", "AutoModelForCausalLM": "own.Own"}
    known = {**Decoder(width=32, layers=1, heads=2).hub_config(text), "auto_map": auto_map}
    (tmp_path / "config.json").write_text(json.dumps(known))

    Hub(path=str(tmp_path)).build(text)
    (tmp_path / "config.json").write_text(json.dumps({**known, "model_type": "own"}))
    (fault,) = Hub(path=str(tmp_path)).fits(text)

    assert "an architecture for language modeling" in fault.expected
    assert not proof.exists()


@pytest.mark.parametrize(
    ("config", "words"),
    [
        ({"model_type": "gpt3"}, ["config.model_type", "found gpt3", "gpt2"]),
        ({"model_type": "vit"}, ["an architecture for language modeling"]),
        ({**gpt2, "n_emb": 3}, ["config.n_emb", "no such key", "did you mean n_embd"]),
        ({**gpt2, "n_embd": 30}, ["config", "divisible", "30"]),
        ({**gpt2, "n_embd": "wide"}, ["config", "n_embd", "wide"]),
        ({**gpt2, "n_positions": 8}, ["max_position_embeddings >= the data's context (16)", "8"]),
        ({**llama, "vocab_size": 24}, ["config.vocab_size", "23", "found 24", "leave it out"]),
    ],
)
def test_sizes_that_cannot_be_are_refused(config: dict[str, Any], words: list[str]) -> None:
    (fault,) = Hub(config=config).fits(text)

    for word in words:
        assert word in str(fault)


def test_a_patch_that_does_not_tile_the_picture_is_refused() -> None:
    (fault,) = Hub(config={**vit, "patch_size": 3}).fits(picture)

    assert str(fault) == "config: expected a patch_size that divides 8 x 8 pixels, found 3"


def test_without_transformers_the_error_says_what_to_install(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(sys.modules, "transformers", None)  # what an import of nothing leaves

    (fault,) = Hub(config=gpt2).fits(text)

    assert "pip install 'zafu[hub]'" in fault.hint
    with pytest.raises(MissingExtra, match="transformers"):
        Hub(config=gpt2).build(text)


def test_a_table_is_refused() -> None:
    (fault,) = Hub(config=vit).fits(Signature(inputs=Columns(numbers=3), outputs=2))

    assert fault.path == "kind"


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({}, ["either path or config", "neither"]),
        ({"path": "x", "config": gpt2}, ["either path or config", "both"]),
        ({"config": {"n_embd": 3}}, ["config.model_type", "nothing"]),
        ({"config": gpt2, "weights": True}, ["weights", "a path"]),
    ],
)
def test_a_hub_without_one_source_is_refused(settings: dict[str, Any], words: list[str]) -> None:
    with pytest.raises(RecipeError) as refusal:
        Hub.parse({"kind": "hub", **settings})

    for word in words:
        assert word in str(refusal.value)


@pytest.mark.parametrize("written", [None, "{", "[]", '{"a": 1}'])
def test_a_folder_without_a_usable_config_is_refused(tmp_path: Path, written: str | None) -> None:
    if written is not None:
        (tmp_path / "config.json").write_text(written)

    (fault,) = Hub(path=str(tmp_path)).fits(text)

    assert fault.path == "path"
    assert "config.json" in str(fault)
