"""One training, by one loop, in a process of its own: `contestant.py LOOP SIZE FOLDER`.

The folder holds `x.npy` and `y.npy`, the same samples for all, and `recipe.json`. All loops have
the same module and torch's fused AdamW at the same learning rate, weight decay and clipping,
except the minimal one, which does not clip. Zafu and transformers keep norms and biases out of
the weight decay, which takes a second group of parameters.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from baton import Baton
from sizes import LR, NORM, SIZES, THREADS, Size

if TYPE_CHECKING:
    import torch
    from torch import Tensor

SAMPLES_OF_EPOCH = 100_000  # of those who pause between epochs: their data is gone through anew


def bare(size: Size, folder: Path, baton: Baton) -> None:
    """The loop as one writes it for data in memory, with the loss and clipping."""
    import torch
    from torch import nn
    from torch.nn import functional

    baton.imported()
    x, y = samples(folder)
    model, optimizer = fresh(size)
    while True:
        order = torch.randperm(len(x))
        for start in range(0, len(x) - size.batch + 1, size.batch):
            ids = order[start : start + size.batch]
            inputs, targets = x[ids], y[ids]
            optimizer.zero_grad()
            loss = functional.cross_entropy(model(inputs).flatten(0, -2), targets.flatten())
            loss.backward()
            nn.utils.clip_grad_norm_(model.parameters(), NORM)
            optimizer.step()
            loss.item()
            baton.step()


def minimal(size: Size, folder: Path, baton: Baton) -> None:
    """The same loop, not looking at the loss and not clipping: what cannot be left out."""
    import torch
    from torch.nn import functional

    baton.imported()
    x, y = samples(folder)
    model, optimizer = fresh(size)
    while True:
        order = torch.randperm(len(x))
        for start in range(0, len(x) - size.batch + 1, size.batch):
            ids = order[start : start + size.batch]
            inputs, targets = x[ids], y[ids]
            optimizer.zero_grad()
            functional.cross_entropy(model(inputs).flatten(0, -2), targets.flatten()).backward()
            optimizer.step()
            baton.step()


def loader(size: Size, folder: Path, baton: Baton) -> None:
    """The loop of the tutorials: the same with a DataLoader that collates samples."""
    from torch import nn
    from torch.nn import functional
    from torch.utils.data import DataLoader, TensorDataset

    baton.imported()
    data = DataLoader(TensorDataset(*samples(folder)), size.batch, shuffle=True, drop_last=True)
    model, optimizer = fresh(size)
    while True:
        for inputs, targets in data:
            optimizer.zero_grad()
            loss = functional.cross_entropy(model(inputs).flatten(0, -2), targets.flatten())
            loss.backward()
            nn.utils.clip_grad_norm_(model.parameters(), NORM)
            optimizer.step()
            loss.item()
            baton.step()


def zafu_fit(size: Size, folder: Path, baton: Baton) -> None:
    """Zafu's loop by its public generator: every loss and gradient is checked to be finite."""
    import numpy as np

    from zafu import loop
    from zafu.data.arrays import Rows
    from zafu.optim.runtime.update import Update
    from zafu.recipe import Recipe

    baton.imported()
    recipe = Recipe.parse(json.loads((folder / "recipe.json").read_text()))
    spec = recipe.fit
    split = Rows((np.load(folder / "x.npy"),), np.load(folder / "y.npy"))
    model = size.module()
    update = Update(
        model, optimizer=spec.optimizer, schedule=spec.schedule, clip=spec.clip, seed=recipe.seed
    )
    objective = loop.Objective(model, recipe.task, split, spec, recipe.seed)
    for _ in loop.fit(objective, update, loop.begin(spec)):
        baton.step()


def zafu_train(size: Size, folder: Path, baton: Baton) -> None:
    """All of `zafu train`: data, metrics, TensorBoard, display, and a checkpoint half way."""
    from zafu.cli.show import show
    from zafu.loop import Step
    from zafu.pipeline import Event, events
    from zafu.recipe import Recipe
    from zafu.run import Run

    baton.imported()
    recipe = Recipe.parse(json.loads((folder / "recipe.json").read_text()))

    def passed_on() -> Iterator[Event]:
        for event in events(Run.named(recipe, f"run-{os.getpid()}", folder / "runs")):
            yield event
            if isinstance(event, Step):
                baton.step()

    show(passed_on())


def transformers(size: Size, folder: Path, baton: Baton) -> None:
    """`transformers.Trainer` with logging, saving and progress bars off."""
    from torch import nn
    from torch.nn import functional
    from transformers import Trainer, TrainerCallback, TrainingArguments

    class Judged(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.model = size.module()

        def forward(self, inputs: Tensor, labels: Tensor) -> dict[str, Tensor]:
            logits = self.model(inputs)
            loss = functional.cross_entropy(logits.flatten(0, -2), labels.flatten())
            return {"loss": loss, "logits": logits}

    class Passing(TrainerCallback):
        def on_step_end(self, *_: Any, **__: Any) -> None:
            baton.step()

    baton.imported()
    settings = TrainingArguments(
        output_dir=str(folder / "transformers"),
        per_device_train_batch_size=size.batch,
        num_train_epochs=1_000_000,
        learning_rate=LR,
        weight_decay=0.01,
        lr_scheduler_type="constant",
        optim="adamw_torch_fused",
        max_grad_norm=NORM,
        logging_strategy="no",
        save_strategy="no",
        report_to=[],
        disable_tqdm=True,
        use_cpu=True,
        dataloader_pin_memory=False,
        dataloader_drop_last=True,
        remove_unused_columns=False,
    )
    data = repeated(folder, lambda x, y: {"inputs": x, "labels": y})
    Trainer(
        Judged(), settings, train_dataset=data, data_collator=whole, callbacks=[Passing()]
    ).train()


def lightning(size: Size, folder: Path, baton: Baton) -> None:
    """Lightning's Trainer with logging, checkpoints, summary and progress bar off."""
    from lightning import Callback, LightningModule, Trainer
    from torch.nn import functional
    from torch.utils.data import DataLoader

    class Judged(LightningModule):
        def __init__(self) -> None:
            super().__init__()
            self.model, self.optimizer = fresh(size)

        def training_step(self, batch: tuple[Tensor, Tensor]) -> Tensor:
            inputs, targets = batch
            return functional.cross_entropy(self.model(inputs).flatten(0, -2), targets.flatten())

        def configure_optimizers(self) -> torch.optim.Optimizer:
            return self.optimizer

    class Passing(Callback):
        def on_train_batch_end(self, *_: Any) -> None:
            baton.step()

    baton.imported()
    trainer = Trainer(
        accelerator="cpu",
        max_epochs=-1,
        gradient_clip_val=NORM,
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        callbacks=[Passing()],
        default_root_dir=folder / "lightning",
    )
    data = repeated(folder, lambda x, y: (x, y))
    batches = DataLoader(data, size.batch, shuffle=True, drop_last=True, collate_fn=whole)
    trainer.fit(Judged(), batches)


LOOPS: dict[str, Callable[[Size, Path, Baton], None]] = {
    "bare": bare,
    "minimal": minimal,
    "loader": loader,
    "zafu-fit": zafu_fit,
    "zafu-train": zafu_train,
    "transformers": transformers,
    "lightning": lightning,
}


def samples(folder: Path) -> tuple[Tensor, Tensor]:
    """All inputs and targets."""
    import numpy as np
    import torch

    x, y = (torch.from_numpy(np.load(folder / f"{name}.npy")) for name in "xy")
    return x, y


def fresh(size: Size) -> tuple[torch.nn.Module, torch.optim.Optimizer]:
    """A model with fresh weights, and what updates it."""
    import torch

    model = size.module()
    return model, torch.optim.AdamW(model.parameters(), lr=LR, weight_decay=0.01, fused=True)


def repeated(folder: Path, pair: Callable[[Tensor, Tensor], Any]) -> Any:
    """A data set that gives whole batches at once, so that peers need not collate samples.

    It is gone through several times in an epoch, so that they need not begin one often either.
    """
    import torch
    from torch.utils.data import Dataset

    x, y = samples(folder)
    count = max(1, SAMPLES_OF_EPOCH // len(x)) * len(x)

    class Repeated(Dataset[Any]):
        def __len__(self) -> int:
            return count

        def __getitem__(self, index: int) -> Any:
            return self.__getitems__([index])

        def __getitems__(self, ids: list[int]) -> Any:
            places = torch.tensor(ids) % len(x)
            return pair(x[places], y[places])

    return Repeated()


def whole(batch: Any) -> Any:
    """What `repeated` gives is a batch already."""
    return batch


def main() -> None:
    """Run until the standard input says to stop or ends."""
    name, size, folder = sys.argv[1:]
    baton = Baton()
    import torch

    torch.set_num_threads(THREADS)
    torch.manual_seed(0)
    LOOPS[name](SIZES[size], Path(folder), baton)


if __name__ == "__main__":
    main()
