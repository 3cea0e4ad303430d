"""One rank of a training of two processes: `rank.py LOOP SIZE FOLDER`.

As `benchmarks/loop/contestant.py`, whose sizes and samples these are: each rank takes half of each
batch. Where the world is comes from the variables that torch's launcher sets.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any

sys.path.append(str(Path(__file__).parents[1] / "loop"))
from baton import Baton
from contestant import fresh, repeated, samples, whole
from sizes import LR, NORM, SIZES, THREADS, Size

if TYPE_CHECKING:
    import torch
    from torch import Tensor, nn

WORLD = 2
RANK = int(os.environ.get("RANK", "0"))


def zafu(size: Size, folder: Path, baton: Baton, layout: dict[str, Any]) -> None:
    """Zafu's loop: sums that do not depend on the layout, every loss and gradient checked."""
    import numpy as np
    import torch

    from zafu import loop
    from zafu.data.arrays import Rows
    from zafu.layout import Layout
    from zafu.optim.runtime.update import Update
    from zafu.parallel.ranks import Ranks
    from zafu.parallel.world import joined
    from zafu.recipe import Recipe

    baton.imported()
    recipe = Recipe.parse(json.loads((folder / "recipe.json").read_text()))
    spec = recipe.fit
    split = Rows((np.load(folder / "x.npy"),), np.load(folder / "y.npy"))
    with ExitStack() as stack:
        world = stack.enter_context(joined(Layout(**layout)))
        with torch.device("meta"):
            names = size.module()
        spread = Ranks(size.module(), world, recipe.task)
        update = Update(
            names,
            optimizer=spec.optimizer,
            schedule=spec.schedule,
            clip=spec.clip,
            seed=recipe.seed,
            held=spread.held,
        )
        objective = loop.Objective(
            spread.model, recipe.task, split, spec, recipe.seed, None, spread
        )
        for _ in loop.fit(objective, update, loop.begin(spec)):
            baton.step()


def zafu_data(size: Size, folder: Path, baton: Baton) -> None:
    """Replicas."""
    zafu(size, folder, baton, {"data": WORLD})


def zafu_shard(size: Size, folder: Path, baton: Baton) -> None:
    """ZeRO 3."""
    zafu(size, folder, baton, {"shard": WORLD})


def bare(size: Size, folder: Path, baton: Baton, wrap: Callable[[nn.Module], nn.Module]) -> None:
    """The loop as one writes it; each rank looks at its own loss alone."""
    import torch
    import torch.distributed as dist
    from torch import nn
    from torch.nn import functional

    baton.imported()
    dist.init_process_group("gloo")
    x, y = samples(folder)
    torch.manual_seed(0)
    model = wrap(size.module())
    optimizer = torch.optim.AdamW(model.parameters(), lr=LR, weight_decay=0.01, fused=True)
    rows = size.batch // WORLD
    while True:
        order = torch.randperm(len(x))  # the seed is that of the other rank
        for start in range(0, len(x) - size.batch + 1, size.batch):
            ids = order[start + RANK * rows : start + (RANK + 1) * rows]
            inputs, targets = x[ids], y[ids]
            optimizer.zero_grad()
            loss = functional.cross_entropy(model(inputs).flatten(0, -2), targets.flatten())
            loss.backward()
            nn.utils.clip_grad_norm_(model.parameters(), NORM)
            optimizer.step()
            loss.item()
            baton.step()


def ddp(size: Size, folder: Path, baton: Baton) -> None:
    """DistributedDataParallel by hand."""
    from torch.nn.parallel import DistributedDataParallel

    bare(size, folder, baton, lambda m: DistributedDataParallel(m, gradient_as_bucket_view=True))


def fsdp(size: Size, folder: Path, baton: Baton) -> None:
    """FSDP2 by hand, block by block."""
    from torch.distributed.device_mesh import init_device_mesh
    from torch.distributed.fsdp import fully_shard

    from zafu.parallel.ranks import blocks

    def wrap(model: nn.Module) -> nn.Module:
        mesh = init_device_mesh("cpu", (WORLD,))  # else it looks for an accelerator
        for part in [*blocks(model), model]:
            fully_shard(part, mesh=mesh, reshard_after_forward=True)
        return model

    bare(size, folder, baton, wrap)


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
        per_device_train_batch_size=size.batch // WORLD,
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
        ddp_backend="gloo",
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
        devices=WORLD,
        strategy="ddp",
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
    rows = size.batch // WORLD
    trainer.fit(Judged(), DataLoader(data, rows, shuffle=True, drop_last=True, collate_fn=whole))


LOOPS: dict[str, Callable[[Size, Path, Baton], None]] = {
    "ddp": ddp,
    "zafu-data": zafu_data,
    "fsdp": fsdp,
    "zafu-shard": zafu_shard,
    "transformers": transformers,
    "lightning": lightning,
}


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
