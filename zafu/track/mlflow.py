"""MLflow: measurements in an experiment of a tracking server (pip install 'zafu[mlflow]').

mlflow.org. Values are queued and sent by MLflow's own thread, so a slow server does not slow a
step. The recipe becomes parameters, one for each dotted path.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterator, Mapping
from importlib import import_module
from pathlib import Path
from typing import Any, ClassVar, Literal, final

from pydantic import Field

from zafu.errors import Refused
from zafu.track.contract import Log, Tracker, gone, remember, remembered

PARAMS, LENGTH = 100, 6000  # the service's limits: parameters in a request, characters in one


@final
class MLflow(Tracker):
    """A run in an experiment of MLflow, with the recipe as its parameters."""

    kind: Literal["mlflow"] = "mlflow"
    needs: ClassVar[tuple[tuple[str, str], ...]] = (("mlflow", "mlflow"),)
    experiment: str = Field(default="zafu", min_length=1)
    """Experiment that the run appears in; made if absent."""
    uri: str | None = None
    """Address of the tracking server or store; None: the variable MLFLOW_TRACKING_URI."""

    def ready(self) -> None:
        """Raise MissingExtra if mlflow is absent, Refused if no server is named."""
        super().ready()
        if not (self.uri or os.environ.get("MLFLOW_TRACKING_URI")):
            hint = "set uri: of the mlflow tracker, or MLFLOW_TRACKING_URI"
            raise Refused(f"fit.trackers: expected the address of an MLflow server; {hint}")

    def open(self, folder: Path, *, name: str, recipe: Mapping[str, Any], step: int) -> Log:
        """A log into the run of this folder, which is continued if it was opened before."""
        self.ready()
        mlflow: Any = import_module("mlflow")

        note = folder / "mlflow.json"
        try:
            client = mlflow.MlflowClient(self.uri or os.environ["MLFLOW_TRACKING_URI"])
            if identity := remembered(note):
                client.update_run(identity, status="RUNNING")
            else:
                identity = remember(note, self._begun(client, name=name, recipe=recipe))
        except (mlflow.MlflowException, OSError) as error:
            raise Refused(f"fit.trackers: MLflow refused the run: {error}") from error
        return _Run(client, identity, mlflow)

    def _begun(self, client: Any, *, name: str, recipe: Mapping[str, Any]) -> str:
        known = client.get_experiment_by_name(self.experiment)
        experiment = known.experiment_id if known else client.create_experiment(self.experiment)
        run: str = client.create_run(experiment, run_name=name).info.run_id
        param = import_module("mlflow").entities.Param
        params = [param(path, str(value)[:LENGTH]) for path, value in _flat(recipe, "")]
        for start in range(0, len(params), PARAMS):
            client.log_batch(run, params=params[start : start + PARAMS])
        return run


class _Run:
    """Queues values for the server."""

    def __init__(self, client: Any, identity: str, mlflow: Any) -> None:
        self.client, self.identity = client, identity
        self.metric: Any = mlflow.entities.Metric
        self.refusal: type[Exception] = mlflow.MlflowException
        self.sent: Any = None  # the future of the last batch; the queue keeps their order
        self.failed = False

    def log(self, step: int, values: Mapping[str, float]) -> None:
        """Queue the values; one warning if the queue takes no more."""
        if self.failed:
            return
        now = int(time.time() * 1000)
        metrics = [self.metric(key, float(value), now, step) for key, value in values.items()]
        try:
            self.sent = self.client.log_batch(self.identity, metrics, synchronous=False)
        except (self.refusal, OSError) as error:
            self.failed = True
            gone("mlflow", error)

    def close(self) -> None:
        """Wait until the server has everything, and end the run there."""
        try:
            if self.sent:
                self.sent.wait()
            self.client.set_terminated(self.identity)
        except (self.refusal, OSError) as error:
            gone("mlflow", error)


def _flat(value: Any, path: str) -> Iterator[tuple[str, Any]]:
    """Every leaf of plain data with its dotted path."""
    if isinstance(value, Mapping):
        for key, inner in value.items():
            yield from _flat(inner, f"{path}.{key}" if path else str(key))
    else:
        yield path, value
