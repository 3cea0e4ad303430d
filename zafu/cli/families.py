"""The families that a recipe chooses from, under the names that the command line uses."""

from zafu.data.contract import Data
from zafu.evaluation.contract import Baseline
from zafu.models.contract import Model
from zafu.optim.averaging import Average
from zafu.optim.contract import Optimizer
from zafu.optim.penalties import Penalty
from zafu.optim.schedules import Schedule
from zafu.spec import Family
from zafu.task import Task
from zafu.track.contract import Tracker

FAMILIES: dict[str, type[Family]] = {
    "tasks": Task,
    "data": Data,
    "models": Model,
    "optimizers": Optimizer,
    "schedules": Schedule,
    "penalties": Penalty,
    "averages": Average,
    "baselines": Baseline,
    "trackers": Tracker,
}
