"""Trackers: events that TensorBoard can read, once each; services that are absent or gone."""

import importlib.util
import logging
import os
import struct
import subprocess
import sys
from collections import Counter
from importlib import import_module
from pathlib import Path

import pytest

from zafu.errors import Damaged, MissingExtra, RecipeError, Refused
from zafu.spec import Spec
from zafu.track.contract import Tracker, remember, remembered
from zafu.track.mlflow import MLflow
from zafu.track.tensorboard import FOLDER, TensorBoard
from zafu.track.trackio import Trackio
from zafu.track.wandb import WeightsAndBiases

RECIPE = {"fit": {"optimizer": {"kind": "sgd", "lr": 0.1}}, "seed": 1, "note": "`<b>` é"}


class Holder(Spec):
    """Something with a tracker in it, as a recipe has."""

    tracker: Tracker


def test_the_family_has_its_four_kinds_and_each_prints_and_parses() -> None:
    kinds = Tracker.kinds()

    assert list(kinds) == ["mlflow", "tensorboard", "trackio", "wandb"]
    for kind in kinds:
        holder = Holder.parse({"tracker": kind})
        assert Holder.parse(holder.dump()) == holder


def test_recipes_with_trackers_are_read_without_torch_or_any_tracking_package() -> None:
    heavy = ["torch", "tensorboardX", "wandb", "mlflow", "trackio"]
    program = (
        "import sys; from zafu.track.contract import Tracker; Tracker.kinds();"
        f"print([m for m in {heavy} if m in sys.modules])"
    )

    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)

    assert done.stdout.strip() == "[]", done.stderr


def test_a_wrong_setting_is_refused_with_what_was_expected() -> None:
    with pytest.raises(RecipeError, match=r"tracker\.mode: expected one of 'online', 'offline'"):
        Holder.parse({"tracker": {"kind": "wandb", "mode": "perhaps"}})


def test_scalars_come_back_from_the_event_file(tmp_path: Path) -> None:
    log = TensorBoard().open(tmp_path, name="a", recipe=RECIPE, step=0)

    log.log(1, {"train/loss": 0.5, "lr": 1e-3})
    log.log(2, {"train/loss": float("nan"), "lr": 1e-3})
    log.close()

    assert shown(tmp_path)["lr"] == {1: pytest.approx(1e-3), 2: pytest.approx(1e-3)}
    assert shown(tmp_path)["train/loss"][1] == 0.5
    assert str(shown(tmp_path)["train/loss"][2]) == "nan"
    assert any(b"kind: sgd" in event.SerializeToString() for event in events(tmp_path))


def test_each_step_is_shown_once_after_a_resume(tmp_path: Path) -> None:
    first = TensorBoard().open(tmp_path, name="a", recipe=RECIPE, step=0)
    for step in range(1, 8):  # a checkpoint after step 5, killed after step 7: no close
        first.log(step, {"loss": -1.0 if step > 5 else step})

    second = TensorBoard().open(tmp_path, name="a", recipe=RECIPE, step=5)
    for step in range(6, 11):
        second.log(step, {"loss": step})
    second.close()

    assert len(list((tmp_path / FOLDER).iterdir())) == 2
    assert shown(tmp_path)["loss"] == {step: float(step) for step in range(1, 11)}
    first.close()


def test_a_run_that_starts_over_hides_what_was_there(tmp_path: Path) -> None:
    for value in (1.0, 2.0):
        log = TensorBoard().open(tmp_path, name="a", recipe=RECIPE, step=0)
        log.log(1, {"loss": value})
        log.close()

    assert shown(tmp_path)["loss"] == {1: 2.0}


def test_an_event_file_torn_anywhere_still_gives_all_events_before(tmp_path: Path) -> None:
    log = TensorBoard().open(tmp_path, name="a", recipe={}, step=0)
    for step in (1, 2, 3):
        log.log(step, {"loss": step})
    file = next((tmp_path / FOLDER).iterdir())
    whole, count = file.read_bytes(), len(events(tmp_path))

    file.write_bytes(whole[:-1])

    assert len(events(tmp_path)) == count - 1
    log.close()


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs the device that is always full")
def test_a_full_disk_silences_the_tracker_with_one_warning(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    log = TensorBoard().open(tmp_path, name="a", recipe={}, step=0)
    file = next((tmp_path / FOLDER).iterdir())
    full = os.open("/dev/full", os.O_WRONLY)
    for handle in Path("/proc/self/fd").iterdir():
        if handle.is_symlink() and handle.readlink() == file:
            os.dup2(full, int(handle.name))

    with caplog.at_level(logging.WARNING, "zafu.track"):
        for step in range(1, 50):
            log.log(step, {"loss": 1.0})
        log.close()

    os.close(full)
    assert [r.message for r in caplog.records] == [
        "tensorboard: [Errno 28] No space left on device; training goes on, "
        "metrics.jsonl has everything"
    ]


@pytest.mark.parametrize(
    ("package", "tracker"),
    [("wandb", WeightsAndBiases()), ("mlflow", MLflow()), ("trackio", Trackio())],
)
def test_an_absent_package_is_named_with_the_line_that_installs_it(
    tmp_path: Path, package: str, tracker: Tracker
) -> None:
    if importlib.util.find_spec(package):
        pytest.skip(f"{package} is installed")

    with pytest.raises(MissingExtra, match=rf"pip install 'zafu\[{package}\]'"):
        tracker.ready()
    with pytest.raises(MissingExtra):
        tracker.open(tmp_path, name="a", recipe={}, step=0)
    assert list(tmp_path.iterdir()) == []


def test_an_id_is_remembered_and_a_damaged_one_is_named(tmp_path: Path) -> None:
    note = tmp_path / "wandb.json"

    before = remembered(note)
    remember(note, "abc")
    after = remembered(note)
    note.write_text("[7]")

    assert (before, after) == (None, "abc")
    with pytest.raises(Damaged, match=r"wandb\.json.*found \[7\]; delete it"):
        remembered(note)


def test_wandb_offline_continues_the_run_of_the_folder(tmp_path: Path) -> None:
    pytest.importorskip("wandb")
    for step in (0, 3):
        log = WeightsAndBiases(mode="offline").open(tmp_path, name="a", recipe=RECIPE, step=step)
        log.log(step + 1, {"loss": 0.5})
        log.close()

    runs = [p.name for p in (tmp_path / "wandb").glob("offline-run-*")]
    identity = remembered(tmp_path / "wandb.json")

    assert identity
    assert all(name.endswith(identity) for name in runs)


def test_mlflow_continues_the_run_of_the_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    mlflow = pytest.importorskip("mlflow")
    monkeypatch.setenv("MLFLOW_ALLOW_FILE_STORE", "true")
    tracker = MLflow(uri=(tmp_path / "store").as_uri())

    for step in (0, 3):
        log = tracker.open(tmp_path, name="a", recipe=RECIPE, step=step)
        log.log(step + 1, {"validation/loss": 0.5})
        log.close()

    client = mlflow.MlflowClient(tracker.uri)
    (run,) = client.search_runs([client.get_experiment_by_name("zafu").experiment_id])
    steps = [m.step for m in client.get_metric_history(run.info.run_id, "validation/loss")]
    assert sorted(steps) == [1, 4]
    assert run.data.params["fit.optimizer.lr"] == "0.1"
    assert run.info.status == "FINISHED"


def test_mlflow_without_an_address_is_refused_before_work(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("mlflow")
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)

    with pytest.raises(Refused, match="MLFLOW_TRACKING_URI"):
        MLflow().ready()


def test_trackio_continues_the_run_of_the_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TRACKIO_DIR", str(tmp_path / "store"))
    pytest.importorskip("trackio")
    for step in (0, 3):
        log = Trackio().open(tmp_path, name="a", recipe=RECIPE, step=step)
        log.log(step + 1, {"loss": 0.5})
        log.close()

    storage = import_module("trackio.sqlite_storage").SQLiteStorage
    identity = remembered(tmp_path / "trackio.json")

    assert [row["step"] for row in storage.get_logs("zafu", identity)] == [1, 4]


def events(folder: Path) -> list[object]:
    """All events of all files in the order of their making; checksums are checked."""
    event = import_module("tensorboardX.proto.event_pb2").Event
    found: list[object] = []
    for file in sorted((folder / FOLDER).iterdir()):
        data = file.read_bytes()
        while len(data) >= 12:
            (length,) = struct.unpack("<Q", data[:8])
            assert struct.unpack("<I", data[8:12])[0] == masked(data[:8])
            if len(data) < 16 + length:
                break
            body, check = data[12 : 12 + length], data[12 + length : 16 + length]
            assert struct.unpack("<I", check)[0] == masked(body)
            found.append(event.FromString(body))
            data = data[16 + length :]
    return found


def shown(folder: Path) -> dict[str, dict[int, float]]:
    """Scalars by tag and step as TensorBoard shows them: a START purges all from its step on."""
    kept: list[tuple[str, int, float]] = []
    for event in events(folder):
        if event.HasField("session_log"):
            kept = [one for one in kept if one[1] < event.step]
        for value in event.summary.value:
            if value.HasField("simple_value"):
                kept.append((value.tag, event.step, value.simple_value))
    assert max(Counter((tag, step) for tag, step, _ in kept).values()) == 1
    tags = {tag for tag, _, _ in kept}
    return {tag: {step: x for name, step, x in kept if name == tag} for tag in tags}


def masked(data: bytes) -> int:
    """The checksum of TensorFlow's records: CRC-32C, rotated by 15 bits, plus a constant."""
    crc = 0xFFFFFFFF
    for byte in data:
        crc ^= byte
        for _ in range(8):
            crc = (crc >> 1) ^ (0x82F63B78 & -(crc & 1))
    crc ^= 0xFFFFFFFF
    return (((crc >> 15) | (crc << 17)) + 0xA282EAD8) & 0xFFFFFFFF
