"""The families that a recipe chooses from, under the names that the command line uses."""

from zafu.augment.contract import Augmentation
from zafu.clean.contract import PictureCleaning, RowCleaning, TextCleaning
from zafu.compress.contract import Compression
from zafu.data.contract import Data
from zafu.edits.contract import Edit
from zafu.evaluation.contract import Baseline
from zafu.explain.contract import Explanation
from zafu.export.contract import Export
from zafu.features.contract import Feature, PictureFeature
from zafu.loading.contract import Loader
from zafu.models.contract import Model
from zafu.optim.averaging import Average
from zafu.optim.contract import Optimizer
from zafu.optim.penalties import Penalty
from zafu.optim.rate import LearningRate
from zafu.optim.schedules import Schedule
from zafu.search.contract import Search
from zafu.spec import Family
from zafu.task import Task
from zafu.tokenizers.contract import Tokenizer
from zafu.track.contract import Tracker

FAMILIES: dict[str, type[Family]] = {
    "tasks": Task,
    "data": Data,
    "text-cleaning": TextCleaning,
    "row-cleaning": RowCleaning,
    "picture-cleaning": PictureCleaning,
    "tokenizers": Tokenizer,
    "features": Feature,
    "picture-features": PictureFeature,
    "augmentations": Augmentation,
    "loaders": Loader,
    "models": Model,
    "compressions": Compression,
    "edits": Edit,
    "exports": Export,
    "explanations": Explanation,
    "optimizers": Optimizer,
    "learning-rates": LearningRate,
    "schedules": Schedule,
    "penalties": Penalty,
    "averages": Average,
    "baselines": Baseline,
    "searches": Search,
    "trackers": Tracker,
}
