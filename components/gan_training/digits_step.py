"""Steps of paper 2: train its plain GAN and its improved DCGAN."""

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from components.core.contract import Run, step
from components.gan_training.params import DcganParams, GanParams, PaperTwoParams
from components.gan_training.parts import of_label

if TYPE_CHECKING:
    from torch import Tensor

    from components.core.training import History
    from components.gan_training.recipes import Recipe

Params = TypeVar("Params", bound=PaperTwoParams)

MILESTONES = (0, 1, 5, 10)
"""Tenths of the training after which paper 2 shows samples (Figures 3 to 9)."""


@step
def train_gan(params: GanParams, run: Run, *, data: Path, label: str, replicate: int) -> None:
    """Train the plain GAN on the training part: on one class (experiment 2), or on "all" (experiment 1).

    Replicates differ in nothing but their seed, which hangs on their number.
    """
    from components.gan_training.recipes import plain_gan

    _train(params, run, data, label, replicate, plain_gan)


@step
def train_dcgan(params: DcganParams, run: Run, *, data: Path, label: str, replicate: int) -> None:
    """Train the improved DCGAN on the training part: on one class (experiment 2), or on "all" (experiment 1).

    Replicates differ in nothing but their seed, which hangs on their number.
    """
    from components.gan_training.recipes import improved_dcgan

    _train(params, run, data, label, replicate, improved_dcgan)


def _train(
    params: Params,
    run: Run,
    data: Path,
    label: str,
    replicate: int,
    recipe: "Callable[[Params, int, int], Recipe]",
) -> None:
    """Train what a recipe builds; keep generator, history and the samples at the paper's milestones."""
    import numpy as np
    import torch

    from components.core.images import TEST_FOLD, ImageSet, as_levels, check_generated, grid, save_model
    from components.core.training import Batches, as_floats, device, restarting, seed_draws, train

    training_part = ImageSet.load(data).training(TEST_FOLD)
    origin = training_part.digest()
    real = of_label(training_part, label)
    run.journal.dataset("training part", origin, str(data), real.counts())
    images = torch.from_numpy(np.array(real.images)).to(device())

    def attempt(run: Run) -> "tuple[Recipe, History]":
        seed_draws(run, "networks")
        built = recipe(params, images.shape[1], images.shape[2])

        def observe(iteration: int) -> "Tensor":
            samples = as_levels(built.gan.samples().cpu().numpy())
            run.journal.image(f"samples/{iteration:06d}", grid(samples))
            return torch.from_numpy(samples)

        history = train(
            built.gan,
            [Batches(images, batch_size=params.batch_size, seed=run.seed)],
            params,
            run,
            steps=params.iterations,
            augment=lambda batch: [as_floats(batch[0])],
            observe=observe,
        )
        check_generated(built.gan.samples().cpu().numpy(), real.images, f"the {built.kind}'s images of {label}")
        return built, history

    built, history = restarting(params, run, attempt)
    history.save(run.out / "history.csv")
    _save_milestones(history, params.iterations, run.out / "milestones")
    facts = {"kind": built.kind, "label": label, "replicate": replicate}
    save_model(run.out, built.gan.generator, built.generator_config, origin=origin, **facts)


def _save_milestones(history: "History", iterations: int, folder: Path) -> None:
    """Write the samples (k, C, H, W), uint8, of every milestone as `<iteration>.npy`."""
    import numpy as np

    folder.mkdir()
    for iteration in {round(iterations * tenth / 10) for tenth in MILESTONES}:
        np.save(folder / f"{iteration:06d}.npy", history.snapshots[iteration].numpy())
