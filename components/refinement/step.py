"""Step: train a SimGAN refiner on one fold and refine the fold's synthetic images."""

from pathlib import Path
from typing import TYPE_CHECKING

from pydantic import Field, model_validator
from pydantic_core import PydanticCustomError

from components.core.contract import GanSection, Run, derive_seed, step

if TYPE_CHECKING:
    from components.core.images import ImageSet
    from components.core.training import History
    from components.refinement.networks import Refiner


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
    samples: int = Field(ge=1, description="images a sample grid")

    @model_validator(mode="after")
    def _buffer_holds_half_a_batch(self) -> "SimganParams":
        if self.buffer_size < self.batch_size // 2:
            raise PydanticCustomError("buffer", "buffer_size must be at least half of batch_size")
        return self


@step
def refine(params: SimganParams, run: Run, *, data: Path, synthetic: Path, fold: int) -> None:
    """Train on one fold's real training images and its synthetic images of all classes, then refine the latter."""
    from dataclasses import replace

    import numpy as np
    import torch

    from components.core.errors import UserError
    from components.core.images import ImageSet, check_generated, grid, save_model
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
    shown = images[torch.linspace(0, len(images) - 1, params.samples).long()]
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
        history = train(
            simgan,
            [
                Batches(images, batch_size=params.batch_size, seed=derive_seed(run.seed, "synthetic")),
                Batches(real_images, batch_size=params.batch_size, seed=derive_seed(run.seed, "real")),
            ],
            params,
            run,
            steps=params.updates,
            observe=lambda update: run.journal.image(f"samples/{update:06d}", grid(simgan.samples().cpu().numpy())),
        )
        refined = replace(generated, images=simgan.refine(images).cpu().numpy())
        for label in refined.classes:
            if len(part := refined.of_class(label)):
                check_generated(part.images, real.images, f"the refined images of {label}")
        return refiner, refined, history

    refiner, refined, history = restarting(params, run, attempt)
    history.save(run.out / "history.csv")
    save_model(run.out / "refiner", refiner, config, origin=origin)
    refined.save(run.out)
