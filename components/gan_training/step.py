"""Steps: train one E-GAN a fold and class; synthesize images of every class with the trained generators."""

import math
from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field

from components.core.params import ComputeSection, TrainingSection
from components.core.step import Run, step

Beta = Annotated[float, Field(ge=0, lt=1)]


class EganParams(TrainingSection):
    """Settings of the E-GAN (paper 1, section 2). Widths, rates and γ are not published."""

    latent_dim: int = Field(ge=1, description="length of the noise vector")
    generator_width: int = Field(ge=1, description="feature channels at half the image's size")
    discriminator_width: int = Field(ge=1, description="feature channels at half the image's size")
    generator_learning_rate: float = Field(gt=0)
    discriminator_learning_rate: float = Field(gt=0)
    betas: tuple[Beta, Beta] = Field(description="Adam's")
    epochs: float = Field(gt=0, description="at most so many passes over all images of the fold's training part")
    generations: int = Field(ge=1, description="at most")
    discriminator_steps: int = Field(ge=1, description="n_D, before every round of mutations")
    gamma: float = Field(ge=0, description="weight of diversity in the fitness")
    alpha: float = Field(gt=0, description="mixup's Beta(α, α)")
    mutations: list[Literal["minimax", "heuristic", "least_squares"]] = Field(min_length=1)
    selection: Literal["fitness", "random"]
    translation: float = Field(ge=0, le=0.5, description="largest shift of real images, as a fraction of a side")
    samples: int = Field(ge=1, description="images a sample grid, from fixed noise")


class SynthesizeParams(ComputeSection):
    """How much to synthesize."""

    ratio: int = Field(ge=1, description="synthetic images per real training image, class by class")
    batch_size: int = Field(ge=1)


@step
def train_egan(params: EganParams, run: Run, *, data: Path, fold: int, label: str) -> None:
    """Train the generator of one class on the training part of one fold, augmented classically on the fly."""
    import numpy as np
    import torch

    from components.core.augment import flip_and_shift
    from components.core.grid import grid
    from components.core.imageset import ImageSet
    from components.core.modeldir import save_model
    from components.core.training import Batches, device, train
    from components.gan_training.egan import EGAN
    from components.gan_training.networks import Discriminator, Generator

    training_part = ImageSet.load(data).training(fold)
    origin = training_part.digest()
    real = training_part.of_class(label)
    run.journal.dataset(f"fold {fold}, training part", origin, str(data), training_part.counts())

    channels, size = real.images.shape[1], real.images.shape[2]
    generator_config = {
        "latent_dim": params.latent_dim,
        "channels": channels,
        "width": params.generator_width,
        "size": size,
    }
    generator = Generator(**generator_config).to(device())
    generations = _generations(params, len(training_part))
    egan = EGAN(
        generator,
        Discriminator(channels, params.discriminator_width, size).to(device()),
        learning_rate_generator=params.generator_learning_rate,
        learning_rate_discriminator=params.discriminator_learning_rate,
        betas=params.betas,
        gamma=params.gamma,
        alpha=params.alpha,
        discriminator_steps=params.discriminator_steps,
        mutations=params.mutations,
        selection=params.selection,
        generations=generations,
        sample_count=params.samples,
    )
    images = torch.from_numpy(np.array(real.images)).to(device())
    history = train(
        egan,
        [Batches(images, batch_size=params.batch_size, seed=run.seed)],
        params,
        run,
        steps=generations,
        augment=lambda batch: [flip_and_shift(batch[0], params.translation)],
        observe=lambda generation: run.journal.image(f"samples/{generation:06d}", grid(egan.samples().cpu().numpy())),
    )
    history.save(run.out / "history.csv")
    save_model(run.out, generator, generator_config, origin=origin, label=label, selection=params.selection)


def _generations(params: EganParams, images: int) -> int:
    """How long to train: every class as long as the whole fold would take, so that the rarer is not cut short."""
    return min(params.generations, math.ceil(params.epochs * images / params.batch_size))


@step
def synthesize(params: SynthesizeParams, run: Run, *, data: Path, generators: list[Path], fold: int) -> None:
    """Draw `ratio` images per real training image of a fold, each class from its own generator."""
    import torch

    from components.core.errors import UserError
    from components.core.grid import grid
    from components.core.imageset import ImageSet
    from components.core.modeldir import load_model, model_facts
    from components.core.training import device
    from components.gan_training.networks import Generator

    training_part = ImageSet.load(data).training(fold)
    origin = training_part.digest()
    by_label = {model_facts(directory)["label"]: directory for directory in generators}
    sets = []
    for index, label in enumerate(training_part.classes):
        directory = by_label[label]
        if model_facts(directory)["origin"] != origin:
            raise UserError(f"The generator in {directory} was not trained on fold {fold} of {data}; train it again.")
        generator = load_model(directory, Generator).to(device())
        count = params.ratio * len(training_part.of_class(label))
        with torch.no_grad():
            noise = torch.randn(count, generator.latent_dim).to(device())
            images = torch.cat([generator(part) for part in noise.split(params.batch_size)])
        sets.append(ImageSet.generated(images.cpu().numpy(), index, training_part.classes, origin))
        run.journal.image(f"synthetic/{label}", grid(images[:64].cpu().numpy()))
    ImageSet.concatenate(sets).save(run.out)
