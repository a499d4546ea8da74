"""Steps of paper 1: train the E-GAN of one fold and class, and synthesize with these."""

from pathlib import Path
from typing import TYPE_CHECKING

from components.core.contract import Run, step
from components.gan_training.params import EganParams, SynthesizeParams
from components.gan_training.parts import training_length

if TYPE_CHECKING:
    from components.core.training import History
    from components.gan_training.networks.egan import Generator


@step
def train_egan(params: EganParams, run: Run, *, data: Path, fold: int, label: str) -> None:
    """Train the generator of one class on the training part of one fold, augmented classically on the fly."""
    import numpy as np
    import torch

    from components.core.images import ImageSet, check_generated, grid, save_model
    from components.core.training import Batches, device, flip_and_shift, restarting, seed_draws, train
    from components.gan_training.egan import EGAN
    from components.gan_training.networks.egan import Discriminator, Generator

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
    # Every class as long as the whole fold would take, so that the rarer is not cut short.
    generations = training_length(params.generations, params.epochs, len(training_part), params.batch_size)
    images = torch.from_numpy(np.array(real.images)).to(device())

    def attempt(run: Run) -> "tuple[Generator, History]":
        seed_draws(run, "generator")
        generator = Generator(**generator_config).to(device())
        seed_draws(run, "discriminator")
        discriminator = Discriminator(channels, params.discriminator_width, size).to(device())
        seed_draws(run, "samples")
        egan = EGAN(
            generator,
            discriminator,
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
        history = train(
            egan,
            [Batches(images, batch_size=params.batch_size, seed=run.seed)],
            params,
            run,
            steps=generations,
            augment=lambda batch: [flip_and_shift(batch[0], params.translation)],
            observe=lambda step: run.journal.image(f"samples/{step:06d}", grid(egan.samples().cpu().numpy())),
        )
        check_generated(egan.samples().cpu().numpy(), real.images, f"the E-GAN's images of {label}")
        return egan.generator, history

    generator, history = restarting(params, run, attempt)
    history.save(run.out / "history.csv")
    save_model(run.out, generator, generator_config, origin=origin, label=label, selection=params.selection)


@step
def synthesize(params: SynthesizeParams, run: Run, *, data: Path, generators: list[Path], fold: int) -> None:
    """Draw `ratio` images per real training image of a fold, each class from its own generator."""
    import torch

    from components.core.errors import UserError
    from components.core.images import ImageSet, check_generated, grid, load_model, model_facts
    from components.core.training import device
    from components.gan_training.networks.egan import Generator

    training_part = ImageSet.load(data).training(fold)
    origin = training_part.digest()
    by_label = {model_facts(directory)["label"]: directory for directory in generators}
    missing = sorted(set(training_part.classes) - set(by_label))
    if missing:
        raise UserError(f"No generator was given for {', '.join(missing)}; train one for every class of {data}.")
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
        check_generated(images.cpu().numpy(), training_part.of_class(label).images, f"the synthetic images of {label}")
        sets.append(ImageSet.generated(images.cpu().numpy(), index, training_part.classes, origin))
        run.journal.image(f"synthetic/{label}", grid(images[:64].cpu().numpy()))
    ImageSet.concatenate(sets).save(run.out)
