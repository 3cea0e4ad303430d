"""The report: what a page says in each state of a run, and that it says nothing that is not so."""

import json
import math
import os
import re
import subprocess
import sys
from html import unescape
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from zafu.measure import Measurement
from zafu.report.folder import read
from zafu.report.page import write
from zafu.report.words import Contest, compared, headline
from zafu.units import Seconds

FINISHED = {"state": "finished", "step": 200, "of": 200, "seconds": 130.4, "command": "zafu train"}


def test_the_headline_can_be_quoted(tmp_path: Path) -> None:
    evaluated(tmp_path)

    said = headline(read(tmp_path)).replace("\u202f", " ")

    assert said == (
        "1.62 bits/byte [1.58, 1.66] on held-out text, 24 % fewer than gzip -9, in 2 min 10 s"
    )


def test_the_page_has_its_sections_in_order(tmp_path: Path) -> None:
    evaluated(tmp_path)

    page = written(tmp_path)

    assert re.findall(r"<h([12])>(.*?)</h\1>", page)[1:] == [
        ("2", "Results"),
        ("2", "Learning"),
        ("2", "What the model says"),
        ("2", "Where the time went"),
        ("2", "Data"),
        ("2", "Model"),
        ("2", "To do it again"),
    ]
    assert page.count("<h1>") == 1
    figures = re.findall(r"<figcaption><strong>(.*?)</strong>", page)
    assert figures == ["bits per byte", "loss", "Loss", "Bits per byte", *figures[4:]]
    assert figures[4:] == ["Throughput", "Learning rate", "Gradient norm", "Norm of the weights"]


def test_pictures_are_named_and_tables_are_scoped(tmp_path: Path) -> None:
    evaluated(tmp_path)

    page = written(tmp_path)

    for picture in re.findall(r"<svg[^>]*>(?:<title>[^<]+</title>)?", page):
        assert 'aria-hidden="true"' in picture or ('role="img"' in picture and "<title>" in picture)
    assert all("scope=" in cell for cell in re.findall(r"<th\b[^>]*>", page))
    assert page.count("<table>") == page.count("<caption>")


def test_the_same_folder_gives_the_same_bytes_and_nothing_is_left_beside_it(tmp_path: Path) -> None:
    evaluated(tmp_path)

    first = write(tmp_path).read_bytes()
    second = write(tmp_path).read_bytes()

    assert first == second
    assert [p.name for p in tmp_path.iterdir() if "report" in p.name] == ["report.html"]


def test_a_page_that_cannot_be_written_leaves_the_old_one(tmp_path: Path) -> None:
    evaluated(tmp_path)
    before = write(tmp_path).read_bytes()
    status(tmp_path, state="failed")
    program = (
        "import resource, signal, sys; from pathlib import Path\n"
        "from zafu.report.page import write\n"
        "signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (2000, 2000))\n"
        "write(Path(sys.argv[1]))"
    )

    done = subprocess.run([sys.executable, "-c", program, tmp_path], capture_output=True, text=True)

    assert "DiskFull" in done.stderr
    assert (tmp_path / "report.html").read_bytes() == before


def test_the_report_is_made_without_torch(tmp_path: Path) -> None:
    evaluated(tmp_path)
    program = (
        "import sys; from pathlib import Path; from zafu.report.page import write\n"
        "write(Path(sys.argv[1])); print([m for m in ('torch', 'polars') if m in sys.modules])"
    )

    done = subprocess.run([sys.executable, "-c", program, tmp_path], capture_output=True, text=True)

    assert done.stdout.strip() == "[]", done.stderr


def test_a_running_run_shows_how_far_it_is(tmp_path: Path) -> None:
    trained(tmp_path, 60)
    status(tmp_path, state="running", step=60, of=1000)

    page = written(tmp_path)

    assert "bits/byte" in headline(read(tmp_path))
    assert headline(read(tmp_path)).endswith("on the validation split at step 60 of 1,000")
    assert 'class="progress"' in page
    assert "Results" not in page


def test_a_run_that_failed_at_once_says_why_and_where(tmp_path: Path) -> None:
    message = "loss is NaN at step 1, samples 3, 5"
    status(tmp_path, state="failed", step=1, of=10, message=message)
    row = {"step": 1, "loss": "NaN", "grad_norm": "NaN", "lr": 0.1, "seconds": 0.2}
    (tmp_path / "metrics.jsonl").write_text(json.dumps(row) + "\n")

    page = written(tmp_path)

    assert "<h1>Failed at step 1 of 10</h1>" in page
    assert message in page
    assert "The loss is not a finite number at step 1." in page
    assert "nan" not in page.lower().replace(message.lower(), "")


def test_steps_without_a_number_are_marked_and_counted(tmp_path: Path) -> None:
    rows = [{"step": n, "loss": "Infinity" if n in (7, 9) else 1.0} for n in range(1, 21)]
    (tmp_path / "metrics.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))

    page = written(tmp_path)

    assert "not a finite number at step 7, nor at 1 of the later ones." in page
    (wide,) = re.findall(r'<div class="wide">(.*?)</div>', page, re.DOTALL)
    assert wide.count('class="bad"') == 2
    assert wide.count("M") == 3  # the line has two gaps


def test_an_empty_folder_and_a_damaged_one_still_give_a_page(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "damaged").mkdir()
    (tmp_path / "damaged" / "status.json").write_text("{")
    (tmp_path / "damaged" / "metrics.jsonl").write_text('{"step":1,"loss":2}\nnonsense\n{"st')
    (tmp_path / "damaged" / "recipe.yaml").write_text("a: [1\nb: }")

    empty, damaged = written(tmp_path / "empty"), written(tmp_path / "damaged")

    assert "<h1>No status yet</h1>" in empty
    assert "status.json: expected JSON; the file is left out" in damaged
    assert "metrics.jsonl:2: expected a JSON object; the line is left out" in damaged
    assert "metrics.jsonl:3" not in damaged  # still being written
    assert "expected valid YAML" in damaged


@pytest.mark.skipif(os.geteuid() == 0, reason="root reads everything")
def test_a_file_that_may_not_be_read_is_named(tmp_path: Path) -> None:
    status(tmp_path, state="running")
    (tmp_path / "status.json").chmod(0)

    assert "status.json: Permission denied" in written(tmp_path)


def test_a_hundred_thousand_steps_make_a_small_page_with_every_spike(tmp_path: Path) -> None:
    rows = [
        {"step": n, "loss": 9.0 if n == 70_001 else 2.0 + n % 3 / 10} for n in range(1, 100_001)
    ]
    (tmp_path / "metrics.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))

    page = written(tmp_path)

    assert len(page) < 200_000
    assert "highest 9" in page
    (wide,) = re.findall(r'<div class="wide">(.*?)</div>', page, re.DOTALL)
    raw = re.findall(r'class="raw" d="(.*?)"', wide)[0]
    peaks = [float(point.split()[1]) for point in re.split("[ML]", raw)[1:]]
    assert min(peaks) < 50 < sorted(peaks)[1]  # heights grow downwards


def test_one_step_is_a_dot(tmp_path: Path) -> None:
    (tmp_path / "metrics.jsonl").write_text('{"step":1,"loss":2.5,"lr":0.1}\n')

    page = written(tmp_path)

    assert 'class="dot line"' in page
    assert "Learning rate" not in page


def test_time_is_shared_out_and_the_rest_is_called_other(tmp_path: Path) -> None:
    rows: list[dict[str, Any]] = [
        {"step": 1, "loss": 1.0, "seconds": 10.0, "seconds_data": 1.0, "seconds_update": 2.0},
        {"step": 1, "saved": True, "seconds": 3.0},
        {"step": 1, "split": "validation", "scores": {}, "seconds": 4.0},
    ]
    (tmp_path / "metrics.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    status(tmp_path, state="finished", seconds=20.0)

    page = unescape(written(tmp_path))

    found = re.findall(r"</svg>([a-z ]+)</span></th><td class=\"number\">([^<]+)</td>", page)
    parts = {"reading data": 1, "forward and backward": 7, "update": 2, "saving": 3}
    parts |= {"evaluation": 4, "other": 3}
    assert found == [(name, str(Seconds(seconds))) for name, seconds in parts.items()]


def test_predictions_are_judged_one_by_one(tmp_path: Path) -> None:
    rows = [
        {"name": "row 1", "predicted": "7", "true": "7"},
        {"name": "row 2", "predicted": "1", "true": "7"},
    ]
    (tmp_path / "samples.json").write_text(json.dumps(rows))

    page = written(tmp_path)

    assert page.count("✓ right") == 1
    assert page.count("✗ wrong") == 1


def test_predicted_numbers_are_shown_with_their_error(tmp_path: Path) -> None:
    rows = [{"name": "row 1", "predicted": 2.5, "true": 4.0}]
    (tmp_path / "samples.json").write_text(json.dumps(rows))

    assert "−1.500" in written(tmp_path)


def test_what_data_preparation_left_out_is_said_in_both_of_its_forms(tmp_path: Path) -> None:
    said = {"in": 10, "dropped": {"no label": 2}, "out": 8, "splits": {"train": 6, "test": 2}}
    (tmp_path / "prepare.json").write_text(json.dumps(said))

    page = written(tmp_path)

    assert re.search(r"no label</span></th><td class=\"number\">2<", page)
    assert re.search(r"train</span></th><td class=\"number\">6<", page)


@pytest.mark.parametrize(
    ("own", "rival", "higher", "said"),
    [
        ((1.0, 0.9, 1.1), (1.15, 1.05, 1.3), False, "not clearly different from x"),
        ((1.0, 0.9, 1.1), (2.0, 1.9, 2.1), False, "50 % less than x"),
        ((2.0, 1.9, 2.1), (1.0, 0.9, 1.1), False, "100 % more than x"),
        ((0.9, 0.88, 0.92), (0.5, 0.4, 0.6), True, "0.4000 above x"),
        ((0.5, 0.4, 0.6), (0.9, 0.88, 0.92), True, "0.4000 below x"),
        ((0.5, None, None), (0.5, None, None), True, "not clearly different from x"),
        ((0.5, None, None), (0.0, None, None), False, "0.5000 more than x"),
    ],
)
def test_a_difference_is_claimed_only_where_intervals_are_apart(
    own: tuple[float, float, float], rival: tuple[float, float, float], higher: bool, said: str
) -> None:
    one, other = (
        Measurement(value=v, low=low, high=high, n=9, how="test") for v, low, high in (own, rival)
    )

    contest = Contest("test", "m", higher, {"m": one}, {"x": {"m": other}})

    assert compared(contest).replace("\u202f", " ") == said


def test_the_strongest_baseline_is_the_one_that_is_quoted(tmp_path: Path) -> None:
    evaluated(tmp_path)

    assert "5-gram" not in headline(read(tmp_path))
    assert "better than gzip -9 and 5-gram" in written(tmp_path)


def evaluated(run: Path) -> None:
    """A finished run of a language model."""
    trained(run, 200)
    status(run, **FINISHED)
    scores = {"bits_per_byte": score(1.6213, 0.041, "bits/byte"), "loss": score(2.6, 0.1, "nats")}
    judged = {
        "split": "test",
        "metric": "bits_per_byte",
        "higher_is_better": False,
        "scores": scores,
        "baselines": {
            "gzip -9": {"bits_per_byte": score(2.131, 0.05, "bits/byte")},
            "5-gram": {"bits_per_byte": score(2.42, 0.05, "bits/byte")},
        },
    }
    (run / "evaluation.json").write_text(json.dumps(judged))
    (run / "samples.json").write_text(json.dumps([{"prompt": "def ", "text": "def f(): ..."}]))
    (run / "prepare.json").write_text(json.dumps({"splits": {"train": {"samples": 5, "units": 9}}}))
    (run / "model").mkdir()
    (run / "model" / "card.json").write_text(json.dumps({"parameters": 1234, "bytes": 4936}))
    (run / "environment.json").write_text(json.dumps({"zafu": "0.1.0", "threads": 2}))
    (run / "recipe.yaml").write_text("task: language-modeling\nseed: 1  # the first\n")


def trained(run: Path, steps: int) -> None:
    """The metrics of a run whose loss falls, evaluated every 20 steps."""
    noise = np.random.default_rng(0)
    rows: list[dict[str, Any]] = []
    for n in range(1, steps + 1):
        loss = 2 + 5 * math.exp(-n / 40) + float(noise.normal(0, 0.05))
        row = {"step": n, "loss": loss, "grad_norm": 1 + noise.random(), "lr": 1e-3 * n}
        rows.append(row | {"samples": 32, "seconds": 0.1, "seconds_data": 0.01})
        if n % 20 == 0:
            scores = {"bits_per_byte": score(loss / 2, 0.1, "bits/byte"), "loss": score(loss, 0.1)}
            rows.append(
                {"step": n, "split": "validation", "scores": scores, "weights": {"norm": n}}
            )
    (run / "metrics.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))


def score(value: float, half: float, unit: str = "") -> dict[str, Any]:
    """A measurement as it is stored."""
    bounds = {"low": value - half, "high": value + half}
    return {"value": value, "unit": unit, "n": 100, **bounds, "how": "bootstrap"}


def status(run: Path, **facts: Any) -> None:
    """What a run says of itself."""
    (run / "status.json").write_text(json.dumps(facts))


def written(run: Path) -> str:
    """The page of a run folder."""
    return write(run).read_text(encoding="utf-8")
