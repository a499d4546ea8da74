"""Steps: train an E-GAN of one fold and class, and synthesize with these; train paper 2's GANs and paper 3's."""

import math
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from components.core.step import Run, step
from components.gan_training.params import (
    ColourParams,
    DcganParams,
    EganParams,
    GanParams,
    PaperTwoParams,
    SynthesizeParams,
    Variant,
)

if TYPE_CHECKING:
    import numpy as np
    from torch import Tensor

    from components.core.imageset import ImageSet
    from components.core.training import History
    from components.gan_training.recipes import Recipe

Params = TypeVar("Params", bound=PaperTwoParams)

MILESTONES = (0, 1, 5, 10)
"""Tenths of the training after which paper 2 shows samples (Figures 3 to 9)."""


@step
def train_egan(params: EganParams, run: Run, *, data: Path, fold: int, label: str) -> None:
    """Train the generator of one class on the training part of one fold, augmented classically on the fly."""
    import numpy as np
    import torch

    from components.core.augment import flip_and_shift
    from components.core.grid import grid
    from components.core.imageset import ImageSet
    from components.core.modeldir import save_model
    from components.core.training import Batches, device, restarting, train
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
    generations = _updates(params.generations, params.epochs, len(training_part), params.batch_size)
    images = torch.from_numpy(np.array(real.images)).to(device())

    def attempt(run: Run) -> "tuple[Generator, History]":
        egan = EGAN(
            Generator(**generator_config).to(device()),
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
        history = train(
            egan,
            [Batches(images, batch_size=params.batch_size, seed=run.seed)],
            params,
            run,
            steps=generations,
            augment=lambda batch: [flip_and_shift(batch[0], params.translation)],
            observe=lambda step: run.journal.image(f"samples/{step:06d}", grid(egan.samples().cpu().numpy())),
        )
        return egan.generator, history

    generator, history = restarting(params, run, attempt)
    history.save(run.out / "history.csv")
    save_model(run.out, generator, generator_config, origin=origin, label=label, selection=params.selection)


def _updates(most: int, epochs: float, images: int, batch_size: int) -> int:
    """How long to train: `most` updates, or so many passes over the images where that is less."""
    return min(most, math.ceil(epochs * images / batch_size))


@step
def synthesize(params: SynthesizeParams, run: Run, *, data: Path, generators: list[Path], fold: int) -> None:
    """Draw `ratio` images per real training image of a fold, each class from its own generator."""
    import torch

    from components.core.errors import UserError
    from components.core.grid import grid
    from components.core.imageset import ImageSet
    from components.core.modeldir import load_model, model_facts
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
        sets.append(ImageSet.generated(images.cpu().numpy(), index, training_part.classes, origin))
        run.journal.image(f"synthetic/{label}", grid(images[:64].cpu().numpy()))
    ImageSet.concatenate(sets).save(run.out)


@step
def train_gan(params: GanParams, run: Run, *, data: Path, label: str) -> None:
    """Train the plain GAN on the training part: on one class (experiment 2), or on "all" (experiment 1)."""
    from components.gan_training.recipes import plain_gan

    _train(params, run, data, label, plain_gan)


@step
def train_dcgan(params: DcganParams, run: Run, *, data: Path, label: str) -> None:
    """Train the improved DCGAN on the training part: on one class (experiment 2), or on "all" (experiment 1)."""
    from components.gan_training.recipes import improved_dcgan

    _train(params, run, data, label, improved_dcgan)


@step
def train_colour(params: ColourParams, run: Run, *, data: Path, variant: Variant, dataset: str, replicate: int) -> None:
    """Train one variant of the colour GAN on one data set, or on "all"; keep what it makes of the test images.

    Replicates differ in nothing but their seed, which hangs on their number.
    """
    import numpy as np
    import torch

    from components.core.augment import as_floats, centre_crop, crop_and_flip
    from components.core.colour import to_grey
    from components.core.grid import as_levels
    from components.core.imageset import TEST_FOLD, ImageSet
    from components.core.modeldir import save_model
    from components.core.training import Batches, device, train
    from components.gan_training.recipes import colour_gan

    photographs = _of_label(ImageSet.load(data), dataset)
    training_part, test_part = photographs.training(TEST_FOLD), photographs.test(TEST_FOLD)
    _check_photographs(training_part, test_part, params.crop, dataset)
    origin = training_part.digest()
    run.journal.dataset(f"{dataset}, training part", origin, str(data), training_part.counts())

    images = torch.from_numpy(np.array(training_part.images)).to(device())
    originals = as_floats(centre_crop(torch.from_numpy(np.array(test_part.images)), params.crop)).to(device())
    updates = _updates(params.updates, params.epochs, len(images), params.batch_size)
    config, gan = colour_gan(params, variant, updates)

    def observe(update: int) -> None:
        shown = originals[: params.samples]
        run.journal.image(f"samples/{update:06d}", _sheet(to_grey(shown), gan.render(to_grey(shown)), shown))

    history = train(
        gan,
        [Batches(images, batch_size=params.batch_size, seed=run.seed)],
        params,
        run,
        steps=updates,
        augment=lambda batch: [as_floats(crop_and_flip(batch[0], params.crop))],
        observe=observe,
    )
    history.save(run.out / "history.csv")
    rendered = [gan.render(part).cpu().numpy() for part in to_grey(originals).split(params.batch_size)]
    np.save(run.out / "rendered.npy", as_levels(np.concatenate(rendered)))
    save_model(run.out, gan.generator, config, origin=origin, kind=variant, dataset=dataset, replicate=replicate)


def _train(params: Params, run: Run, data: Path, label: str, recipe: "Callable[[Params, int, int], Recipe]") -> None:
    """Train what a recipe builds; keep generator, history and the samples at the paper's milestones."""
    import numpy as np
    import torch

    from components.core.augment import as_floats
    from components.core.grid import as_levels, grid
    from components.core.imageset import TEST_FOLD, ImageSet
    from components.core.modeldir import save_model
    from components.core.training import Batches, device, restarting, train

    training_part = ImageSet.load(data).training(TEST_FOLD)
    origin = training_part.digest()
    real = _of_label(training_part, label)
    run.journal.dataset("training part", origin, str(data), real.counts())
    images = torch.from_numpy(np.array(real.images)).to(device())

    def attempt(run: Run) -> "tuple[Recipe, History]":
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
        return built, history

    built, history = restarting(params, run, attempt)
    history.save(run.out / "history.csv")
    _save_milestones(history, params.iterations, run.out / "milestones")
    facts = {"kind": built.kind, "label": label, "collapsed_at": history.collapsed_at()}
    save_model(run.out, built.gan.generator, built.generator_config, origin=origin, **facts)


def _of_label(images: "ImageSet", label: str) -> "ImageSet":
    """The images of one class, or of all."""
    from components.core.errors import UserError
    from components.core.imageset import ALL

    filled = [name for name, count in images.counts().items() if count]
    if label not in (ALL, *filled):
        raise UserError(f"There are no images of class '{label}'; choose '{ALL}' or one of {', '.join(filled)}.")
    return images.of_class(label)


def _save_milestones(history: "History", iterations: int, folder: Path) -> None:
    """Write the samples (k, C, H, W), uint8, of every milestone as `<iteration>.npy`."""
    import numpy as np

    folder.mkdir()
    for iteration in {round(iterations * tenth / 10) for tenth in MILESTONES}:
        np.save(folder / f"{iteration:06d}.npy", history.snapshots[iteration].numpy())


def _check_photographs(training_part: "ImageSet", test_part: "ImageSet", crop: int, dataset: str) -> None:
    """UserError where there is nothing to train or to test on, or where a crop does not fit into the images."""
    from components.core.errors import UserError

    for name, part in (("training", training_part), ("test", test_part)):
        if not len(part):
            raise UserError(f"The data set '{dataset}' has no {name} photographs; prepare more of them.")
    side = min(training_part.images.shape[2:])
    if crop > side:
        raise UserError(f"Crops of {crop} pixels do not fit into photographs of {side}; set crop to {side} at most.")


def _sheet(grey: "Tensor", rendered: "Tensor", originals: "Tensor") -> "np.ndarray":
    """One picture (N·H, 3·W, 3) of N images (N, 1 or 3, H, W): grey | rendered | original, a row each."""
    import torch

    from components.core.grid import as_levels

    rows = torch.cat([grey.expand_as(originals), rendered, originals], dim=3)
    return as_levels(rows.movedim(1, -1).flatten(0, 1).cpu().numpy())
