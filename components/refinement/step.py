"""Step: train a SimGAN refiner on one fold and refine the fold's synthetic images."""

from pathlib import Path
from typing import TYPE_CHECKING

from pydantic import Field, model_validator
from pydantic_core import PydanticCustomError

from components.core.contract import GanSection, Run, derive_seed, step

if TYPE_CHECKING:
    from torch import Tensor

    from components.core.images import ImageSet
    from components.core.training import History
    from components.refinement.networks import Refiner


MILESTONES = 5
"""Moments of the training, at most, whose images are kept; those before the first change are one more."""


class SimganParams(GanSection):
    """Settings of the refiner (paper 1, section 2.1); widths, λ, rates and buffer are the original SimGAN's there."""

    refiner_width: int = Field(ge=1, description="feature channels")
    discriminator_width: int = Field(ge=1, description="feature channels")
    refiner_learning_rate: float = Field(gt=0)
    discriminator_learning_rate: float = Field(gt=0)
    regularisation: float = Field(ge=0, description="λ of eq. 3")
    discriminator_warmup: int = Field(ge=0, description="discriminator updates before the refiner's first")
    refiner_updates: int = Field(ge=1, description="refiner updates to one of the discriminator, from then on")
    updates: int = Field(ge=1, description="of either network, in all")
    buffer_size: int = Field(ge=1, description="refined images in the history buffer")
    samples: int = Field(ge=1, description="images a sample grid, as many of each class")

    @model_validator(mode="after")
    def _buffer_holds_half_a_batch(self) -> "SimganParams":
        if self.buffer_size < self.batch_size // 2:
            raise PydanticCustomError("buffer", "buffer_size must be at least half of batch_size")
        return self


@step
def refine(params: SimganParams, run: Run, *, data: Path, synthetic: Path, fold: int, replicate: int) -> None:
    """Train on one fold's real training images and its synthetic images of all classes, then refine the latter."""
    from dataclasses import replace

    import numpy as np
    import torch

    from components.core.errors import UserError
    from components.core.images import ImageSet, as_levels, check_generated, grid, save_model
    from components.core.training import Batches, device, restarting, seed_draws, train
    from components.refinement.networks import Discriminator, Refiner
    from components.refinement.simgan import SimGAN

    real, generated = ImageSet.load(data).training(fold), ImageSet.load(synthetic)
    origin = real.digest()
    if generated.origin != origin:
        raise UserError(f"The images in {synthetic} do not descend from fold {fold} of {data}; synthesize them again.")
    run.journal.dataset(f"fold {fold}, training part", origin, str(data), real.counts())

    real_images = torch.from_numpy(np.array(real.images)).to(device())
    images = torch.from_numpy(np.array(generated.images)).to(device())
    shown = images[_evenly(generated, params.samples).flatten()]
    config = {"channels": images.shape[1], "width": params.refiner_width}
    run.journal.image("samples/synthetic", grid(shown.cpu().numpy()))

    def attempt(run: Run) -> "tuple[Refiner, ImageSet, History]":
        seed_draws(run, "refiner")
        refiner = Refiner(**config).to(device())
        seed_draws(run, "discriminator")
        simgan = SimGAN(
            refiner,
            Discriminator(images.shape[1], params.discriminator_width).to(device()),
            learning_rate_refiner=params.refiner_learning_rate,
            learning_rate_discriminator=params.discriminator_learning_rate,
            regularisation=params.regularisation,
            discriminator_warmup=params.discriminator_warmup,
            refiner_updates=params.refiner_updates,
            buffer_size=params.buffer_size,
            fixed_images=shown,
        )

        def observe(update: int) -> torch.Tensor:
            samples = as_levels(simgan.samples().cpu().numpy())
            run.journal.image(f"samples/{update:06d}", grid(samples))
            return torch.from_numpy(samples)

        history = train(
            simgan,
            [
                Batches(images, batch_size=params.batch_size, seed=derive_seed(run.seed, "synthetic")),
                Batches(real_images, batch_size=params.batch_size, seed=derive_seed(run.seed, "real")),
            ],
            params,
            run,
            steps=params.updates,
            observe=observe,
        )
        refined = replace(generated, images=simgan.refine(images).cpu().numpy())
        for label in refined.classes:
            if len(part := refined.of_class(label)):
                check_generated(part.images, real.images, f"the refined images of {label}")
        return refiner, refined, history

    refiner, refined, history = restarting(params, run, attempt)
    history.save(run.out / "history.csv")
    _save_milestones(history, params.discriminator_warmup, len(generated.classes), run.out / "milestones")
    save_model(run.out / "refiner", refiner, config, origin=origin)
    refined.save(run.out)


def _evenly(images: "ImageSet", count: int) -> "Tensor":
    """Places (classes, k) of `count` images or a few less, spread evenly over each class; one of each at least."""
    import torch

    places = [torch.from_numpy(images.labels == label).nonzero()[:, 0] for label in range(len(images.classes))]
    each = min(max(1, count // len(places)), *map(len, places))
    return torch.stack([found[torch.linspace(0, len(found) - 1, each).long()] for found in places])


def _save_milestones(history: "History", warmup: int, classes: int, folder: Path) -> None:
    """Write the images shown, uint8 (classes, k, C, H, W), as `<update>.npy`: as they were given, then a few times
    while the refiner changes them, up to the end (Figure 8).
    """
    import numpy as np

    changing = [update for update in history.snapshots if update > warmup]
    places = np.linspace(0, len(changing) - 1, min(MILESTONES, len(changing))).round().astype(int)
    folder.mkdir()
    for update in [0, *(changing[place] for place in places)]:
        shown = history.snapshots[update].numpy()
        np.save(folder / f"{update:06d}.npy", shown.reshape(classes, -1, *shown.shape[1:]))
