import subprocess
import sys
from pathlib import Path

import pytest

from zafu.errors import RecipeError
from zafu.recipe import Recipe
from zafu.source import parse_yaml

DIGITS = {
    "task": "classification",
    "data": "digits",
    "model": "convnet",
    "fit": {"epochs": 1},
}
RECIPES = sorted((Path(__file__).parents[1] / "zafu" / "recipes").glob("*.yaml"))
SHIPPED = next(file for file in RECIPES if file.stem == "digits")
WRONG = [
    # what is wrong, and the paths that the one error must name
    ("epochs: 3, steps: 5", ["fit"]),
    ("epochs: 3, batch: 32, micro_batch: 5", ["fit.micro_batch"]),
    ("epochs: 3, batch: all", ["fit.micro_batch"]),
    ("epochs: 3, clip: {}", ["fit.clip"]),
    ("tokens: 1000", ["fit.tokens"]),
    (
        "epochs: -1, optimizer: {kind: adamw, lr: 0, bets: [0.9, 1]}",
        [
            "fit.epochs",
            "fit.optimizer.lr",
            "fit.optimizer.bets",
        ],
    ),
    ("epochs: 3, optimizer: schedule-free, average: ema", ["fit.average"]),
    ("epochs: 3, schedule: cosin", ["fit.schedule.kind"]),
    ("epochs: 3, precision: fp64, keep: 0", ["fit.precision", "fit.keep"]),
    ("epochs: 3, augment: [rotation, token-masking]", ["fit.augment.1.kind"]),
    ("epochs: 3, augment_backend: opencv", ["fit.augment_backend"]),
    ("epochs: 3, loader: {kind: threads, workers: 65}", ["fit.loader.workers"]),
    ("epochs: 3, loader: {kind: processes, workers: 8}", ["fit.loader.depth"]),
]


def paths_of(data: object) -> list[str]:
    with pytest.raises(RecipeError) as caught:
        Recipe.parse(data)
    return [fault.path for fault in caught.value.faults]


@pytest.mark.parametrize(("fit", "paths"), WRONG)
def test_a_wrong_fit_is_refused_with_every_fault(fit: str, paths: list[str]) -> None:
    found = paths_of({**DIGITS, "fit": parse_yaml(f"{{{fit}}}").data})

    assert sorted(found) == sorted(paths)


@pytest.mark.parametrize(
    ("change", "path"),
    [
        ({"task": "regression"}, "task.kind"),
        ({"model": "decoder"}, "model.kind"),
        ({"model": {"kind": "vit", "patch": 3}}, "model.patch"),
        ({"model": {"kind": "vit", "width": 64, "heads": 5}}, "model.heads"),
        ({"evaluate": {"metric": "bits_per_byte"}}, "evaluate.metric"),
        ({"evaluate": {"baselines": ["gzip"]}}, "evaluate.baselines.0.kind"),
        ({"data": {"kind": "digits", "split": {"validation": 1e-4}}}, "data.split.validation"),
        ({"data": {"kind": "digits", "split": {"validation": 0.6, "test": 0.4}}}, "data.split"),
        ({"seed": -1}, "seed"),
        ({"sead": 1}, "sead"),
    ],
)
def test_what_does_not_go_together_is_refused(change: dict[str, object], path: str) -> None:
    assert paths_of({**DIGITS, **change}) == [path]


TOKENS = {
    "task": "language-modeling",
    "data": {"kind": "text", "files": ["stdlib:asyncio/*.py"], "context": 36},
    "model": {"kind": "decoder", "width": 32, "heads": 4, "kv_heads": 2, "drop_path": 0.1},
    "fit": {"steps": 1},
}


@pytest.mark.parametrize(
    ("recipe", "layout", "paths"),
    [
        (TOKENS, {"tensor": 2}, ["model.drop_path"]),
        (TOKENS, {"tensor": 8}, ["layout.tensor", "model.drop_path", "layout.tensor"]),
        (TOKENS, {"context": 4}, ["model.drop_path", "layout.context"]),
        (DIGITS, {"tensor": 2}, ["layout.tensor"]),
        (DIGITS | {"model": {"kind": "mlp", "width": 30}}, {"tensor": 4}, ["layout.tensor"]),
        (DIGITS | {"model": {"kind": "mlp", "layers": 0}}, {"tensor": 2}, ["layout.tensor"]),
        (DIGITS | {"model": {"kind": "vit", "heads": 4}}, {"tensor": 3}, ["layout.tensor"]),
    ],
)
def test_a_layout_that_cannot_share_the_model_is_refused(
    recipe: dict[str, object], layout: dict[str, int], paths: list[str]
) -> None:
    assert paths_of(recipe | {"layout": layout}) == paths
    fits = DIGITS | {"model": {"kind": "vit", "heads": 4}, "layout": {"tensor": 4}}
    assert Recipe.parse(fits).layout.world == 4


def test_what_cannot_run_in_a_pipeline_is_refused() -> None:
    layout = {"pipeline": 2, "microbatches": 4, "schedule": "zero-bubble"}
    fit = {"epochs": 1, "batch": 16}

    assert paths_of(TOKENS | {"layout": layout, "fit": fit | {"compile": True}}) == ["fit.compile"]
    odd = {"layout": layout, "fit": fit | {"batch": "all", "micro_batch": 6}}
    assert paths_of(TOKENS | odd) == ["fit.micro_batch"]
    fits = {"layout": layout, "fit": fit | {"micro_batch": 4}}
    assert Recipe.parse(TOKENS | fits).layout.stages == 4


def test_a_hub_model_is_shared_by_what_transformers_publishes() -> None:
    pytest.importorskip("transformers")
    sizes = {
        "hidden_size": 32,
        "intermediate_size": 64,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
    }
    model = {"kind": "hub", "config": {"model_type": "llama", **sizes}}
    given = TOKENS | {"model": model}
    assert Recipe.parse(given | {"layout": {"tensor": 2, "pipeline": 2}}).layout.world == 4
    wrong = {"layout": {"tensor": 4, "pipeline": 3}}
    assert paths_of(given | wrong)[:2] == ["layout.tensor", "layout.pipeline"]
    other = {"kind": "hub", "config": {"model_type": "gpt2", "n_embd": 32, "n_head": 4}}
    assert paths_of(given | {"model": other, "layout": {"tensor": 2}}) == ["layout.tensor"]


def test_patience_without_a_validation_split_is_refused() -> None:
    data = {"kind": "digits", "split": {"validation": 0}}

    found = paths_of({**DIGITS, "data": data, "fit": {"epochs": 1, "early_stopping": {}}})

    assert found == ["fit.early_stopping"]


def test_a_split_of_too_few_files_would_be_empty(tmp_path: Path) -> None:
    for index in range(4):
        (tmp_path / f"{index}.txt").write_text(f"text {index}")
    data = {"kind": "text", "files": [f"{tmp_path}/*.txt"], "split": {"validation": 0.2, "test": 0}}

    found = paths_of(
        {"task": "language-modeling", "data": data, "model": "decoder", "fit": {"steps": 1}}
    )

    assert found == ["data.split.validation"]


def test_files_that_are_not_there_are_a_fault_of_the_recipe() -> None:
    data = {"kind": "text", "files": ["nowhere/*.txt"]}

    found = paths_of(
        {"task": "language-modeling", "data": data, "model": "decoder", "fit": {"steps": 1}}
    )

    assert found == ["data"]


@pytest.mark.parametrize("file", RECIPES, ids=lambda f: f.stem)
def test_the_recipes_that_we_ship_are_sound_and_print_back_equal(file: Path) -> None:
    if "get:" in file.read_text(encoding="utf-8"):  # of a set that may not have been fetched
        recipe = Recipe.stored(file)
        missing = _faults_of(recipe)
        assert all(path in ("data", "") and "zafu data get" in text for path, text in missing)
    else:
        recipe = Recipe.load(file)

    assert type(recipe).stored(file) == recipe
    assert Recipe.model_validate(recipe.dump()) == recipe


def _faults_of(recipe: Recipe) -> list[tuple[str, str]]:
    try:
        Recipe.parse(recipe.dump())
    except RecipeError as error:
        return [(fault.path, str(fault)) for fault in error.faults]
    return []


def test_a_plugin_has_the_same_standing_and_decides_the_identity(tmp_path: Path) -> None:
    guide = Path(__file__).parents[1] / "docs" / "add-a-technique.md"
    code = guide.read_text(encoding="utf-8").split("```python\n")[1].split("```")[0]
    (tmp_path / "sign_sgd.py").write_text(code, encoding="utf-8")
    file = tmp_path / "r.yaml"
    fit = "fit: {epochs: 1, optimizer: {kind: sign-sgd, lr: 0.01}}"
    text = f"task: classification\ndata: digits\nmodel: convnet\n{fit}\nplugins: [sign_sgd.py]\n"
    file.write_text(text, encoding="utf-8")

    recipe = Recipe.load(file)

    assert recipe.fit.optimizer.kind == "sign-sgd"
    before = recipe.identity()
    (tmp_path / "sign_sgd.py").write_text(code + "\n# changed\n", encoding="utf-8")
    assert recipe.identity() != before


def test_a_plugin_that_is_not_there_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "r.yaml"
    file.write_text("plugins: [../absent.py, recipe.txt]\n", encoding="utf-8")

    with pytest.raises(RecipeError) as caught:
        Recipe.load(file)

    assert [fault.path for fault in caught.value.faults] == ["plugins.0", "plugins.1"]


def test_a_recipe_is_checked_without_torch() -> None:
    code = (
        "import sys\n"
        "from zafu.cli import main\n"
        f"code = main(['check', {str(SHIPPED)!r}])\n"
        "heavy = {'torch', 'sklearn', 'polars', 'transformers', 'tokenizers'} & set(sys.modules)\n"
        "sys.exit(code or sorted(heavy) or 0)\n"
    )

    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)

    assert done.returncode == 0, done.stderr


def test_who_reads_the_data_is_no_part_of_what_a_run_is() -> None:
    recipe = Recipe.parse(DIGITS)

    assert recipe.at("fit.loader", "threads").identity() == recipe.identity()
    assert recipe.at("fit.batch", 33).identity() != recipe.identity()
