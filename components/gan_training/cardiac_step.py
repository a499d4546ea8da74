"""Steps of paper 1: train the E-GAN of one fold and class, and synthesize with these."""

from pathlib import Path
from typing import TYPE_CHECKING

from components.core.contract import Run, step
from components.gan_training.params import EganParams, SynthesizeParams
from components.gan_training.parts import training_length

if TYPE_CHECKING:
    from torch import nn

    from components.core.training import History


@step
def train_egan(params: EganParams, run: Run, *, data: Path, fold: int, replicate: int, label: str) -> None:
    """Train the generator of one class on the training part of one fold, augmented on the fly."""
    from functools import partial

    import numpy as np
    import torch

    from components.core.images import ImageSet, check_generated, grid, save_model
    from components.core.training import Batches, device, flip_and_shift, restarting, seed_draws, train
    from components.gan_training.augmentation import perturb
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
    seen = partial(perturb, translation=params.translation, brightness=params.brightness, contrast=params.contrast)
    images = torch.from_numpy(np.array(real.images)).to(device())

    def attempt(run: Run) -> "tuple[nn.Module, History]":
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
            augment=seen,
            gamma=params.gamma,
            alpha=params.alpha,
            discriminator_steps=params.discriminator_steps,
            mutations=params.mutations,
            selection=params.selection,
            judged_every=params.judged_every,
            averaging=params.averaging,
            generations=generations,
            sample_count=params.samples,
        )
        history = train(
            egan,
            [Batches(images, batch_size=params.batch_size, seed=run.seed)],
            params,
            run,
            steps=generations,
            augment=lambda batch: [flip_and_shift(batch[0], 0.0)] if params.flips else batch,
            observe=lambda step: run.journal.image(f"samples/{step:06d}", grid(egan.samples().cpu().numpy())),
        )
        check_generated(egan.samples().cpu().numpy(), real.images, f"the E-GAN's images of {label}")
        return egan.settled(), history

    generator, history = restarting(params, run, attempt)
    history.save(run.out / "history.csv")
    save_model(run.out, generator, generator_config, origin=origin, label=label, selection=params.selection)


@step
def synthesize(
    params: SynthesizeParams, run: Run, *, data: Path, generators: list[Path], fold: int, replicate: int
) -> None:
    """Draw `ratio` images per real training image of a fold, each class from its own generator.

    What contradicts its label is drawn again. `fidelity.json` counts it by class.
    """
    import json
    from functools import partial

    import numpy as np
    import torch

    from components.core.errors import UserError
    from components.core.images import ImageSet, check_generated, grid, load_model, model_facts
    from components.core.training import device, seed_draws
    from components.gan_training.fidelity import Jury
    from components.gan_training.networks.egan import Generator

    training_part = ImageSet.load(data).training(fold)
    origin = training_part.digest()
    by_label = {model_facts(directory)["label"]: directory for directory in generators}
    missing = sorted(set(training_part.classes) - set(by_label))
    if missing:
        raise UserError(f"No generator was given for {', '.join(missing)}; train one for every class of {data}.")
    for directory in by_label.values():
        if model_facts(directory)["origin"] != origin:
            raise UserError(f"The generator in {directory} was not trained on fold {fold} of {data}; train it again.")

    def draw(generator: Generator, label: str, count: int, time: int) -> np.ndarray:
        seed_draws(run, "noise", label, time)
        with torch.no_grad():
            noise = torch.randn(count, generator.latent_dim).to(device())
            return torch.cat([generator(part) for part in noise.split(params.batch_size)]).cpu().numpy()

    jury = Jury(training_part, run)
    sets, counts = [], {}
    for index, label in enumerate(training_part.classes):
        real = training_part.of_class(label)
        generator = load_model(by_label[label], Generator).to(device())
        images, found = jury.choose(partial(draw, generator, label), index, params.ratio * len(real), params.redraws)
        check_generated(images, real.images, f"the synthetic images of {label}")
        if 2 * found.contradicting > found.drawn:
            run.journal.warn(
                f"Of {found.drawn} images of {label} that were drawn, {found.contradicting} look like another class; "
                f"{found.left} of these stay. Train this fold's E-GAN longer, or with another seed."
            )
        run.journal.metrics({f"{name}/{label}": value for name, value in found.as_json().items()}, step=0)
        run.journal.image(f"synthetic/{label}", grid(images[:64]))
        sets.append(ImageSet.generated(images, index, training_part.classes, origin))
        counts[label] = found.as_json()
    ImageSet.concatenate(sets).save(run.out)
    (run.out / "fidelity.json").write_text(json.dumps(counts, indent=1) + "\n")
