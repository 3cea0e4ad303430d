"""A model under load: what is measured is what happened, and the best form is the one served."""

import json
import shutil

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from serving import Server

from zafu.artifact import read_json
from zafu.bench import asking, measure, pick
from zafu.bench.load import Heard, Plan, run
from zafu.bench.measure import Phase, phase, quantile
from zafu.bench.pick import Form
from zafu.cli import main
from zafu.deploy.bundle import opened
from zafu.errors import Refused, ZafuError
from zafu.export.contract import Export
from zafu.measure import Measurement
from zafu.run import Run
from zafu.serve import start


@given(st.lists(st.floats(0.001, 10), min_size=1, max_size=300))
def test_a_quantile_lies_in_its_interval(seconds: list[float]) -> None:
    for share in (0.5, 0.95, 0.99):
        found = quantile(seconds, share)
        assert found.low is not None
        assert found.high is not None
        assert found.low <= found.value <= found.high
        below = np.mean(np.array(seconds) * 1000 < found.value)
        assert below <= share


def test_throughput_counts_what_was_answered() -> None:
    heard = Heard(ends=[i / 100 for i in range(1000)], took=[0.01] * 1000, seconds=10.0)

    found = measure.per_second(heard, np.ones(1000), "/s")

    assert found.value == pytest.approx(100)
    assert found.low == pytest.approx(100, rel=0.02)


def test_both_loops_hear_each_answer(rows: Server, flowers: Run) -> None:
    asked = asking.of(opened(flowers.folder))
    plan = Plan(port=rows.port, **asked.plan(), clients=4, seconds=0.5)
    before = rows.metric("request_seconds_count")

    closed = run(plan)
    opened_ = run(Plan(**{**vars(plan), "rate": 40.0}))

    heard = len(closed.took) + len(opened_.took)
    assert closed.failed == opened_.failed == 0
    assert len(closed.refused) == len(opened_.refused) == 0
    assert 5 < len(opened_.took) < 45
    assert rows.metric("request_seconds_count") - before == heard + 1  # the first look


def test_streams_are_counted_by_tokens(writer: Server, text: Run) -> None:
    asked = asking.of(opened(text.folder))

    found = phase("x", Plan(port=writer.port, **asked.plan(), clients=4, seconds=1))

    assert found.failed == 0
    assert found.found["tokens"].value > 10 * found.found["answers"].value
    assert found.found["first p50"].value < found.found["p50"].value


def test_a_server_that_is_not_there_is_no_answer() -> None:
    plan = Plan(port=1, path="/", kind="x", bodies=("",), clients=1, seconds=0.2)

    found = run(plan)

    assert found.failed > 0
    assert not found.took


def form(kind: str, one: float, many: float, *, failed: int = 0) -> Form:
    def of(value: float) -> Measurement:
        return Measurement.exact(value, n=1)

    phases = [
        Phase("1 client", {"p50": of(one), "answers": of(1 / one)}, 1, 0, 0),
        Phase("32 clients", {"p50": of(1), "answers": of(many)}, 1, 0, failed),
    ]
    return Form(kind, phases, 100)


def test_the_best_form_is_kept_and_served(digits: Run) -> None:
    rows = [form("torch", 2, 50), form("onnx", 1, 40), form("broken", 0.1, 900, failed=1)]
    with pytest.raises(Refused, match=r"what `zafu bench .* --pick` writes"):
        start.form_of(digits.folder, "pick", print)

    chosen = pick.best(rows)
    file = pick.write(digits.folder, rows, chosen, 1e9)
    served = start.form_of(digits.folder, "pick", print)
    file.unlink()

    assert chosen == {"one": "onnx", "many": "torch"}
    assert served == digits.folder
    assert read_json(pick.write(digits.folder, rows, chosen, 1e9))["kind"] == "torch"
    file.unlink()
    with pytest.raises(ZafuError, match="no form answered"):
        pick.best(rows[2:])


def test_the_command_measures_what_would_be_shipped(
    digits: Run, capsys: pytest.CaptureFixture[str]
) -> None:
    code = main(["bench", str(digits.folder), "--seconds", "0.5", "--clients", "4", "--json"])

    assert code == 0
    found = json.loads(capsys.readouterr().out)
    (torch,) = found["forms"]
    assert torch["kind"] == "torch"
    assert torch["limit_ms"] == pytest.approx(1000 * torch["bytes"] / found["bandwidth"])
    assert [p["failed"] for p in torch["phases"]] == [0, 0, 0]
    assert torch["phases"][1]["found"]["answers"]["value"] > 1


def test_what_cannot_be_measured_is_refused(digits: Run) -> None:
    for options in (
        ["--kind", "onnx"],
        ["--clients", "0"],
        ["--seconds", "0.1"],
        ["--pick", "--kind", "torch"],
    ):
        assert main(["bench", str(digits.folder), *options]) == 2


def test_a_form_that_is_there_is_kept_unless_other_settings_are_asked_for(digits: Run) -> None:
    said: list[str] = []
    asked = "{kind: onnx, within: 0.5}"

    first = start.form_of(digits.folder, asked, said.append)
    again = start.form_of(digits.folder, "onnx", said.append)

    assert first == again
    assert len(said) == 1
    assert read_json(again / "export.json")["export"]["within"] == 0.5
    start.form_of(digits.folder, "{kind: onnx, within: 0.25}", said.append)
    assert len(said) == 2
    shutil.rmtree(first)


def test_forms_that_cannot_be_had_here_are_named(
    digits: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By the package that is missing, or by the model that has no such form."""
    monkeypatch.setattr("zafu.extras.find_spec", lambda _: None)
    monkeypatch.setenv("CXX", "no-such-compiler")
    said: list[str] = []

    assert pick.all_forms(digits.folder, said.append) == {"torch": digits.folder}

    ours = {kind for kind, how in Export.kinds().items() if how.__module__.startswith("zafu.")}
    assert {text.split(": ")[1] for text in said if text.startswith("left out: ")} == ours
    assert any("pip install 'zafu[onnx]'" in text for text in said)
    assert any("a model of kind decoder, found convnet" in text for text in said)
