"""The step of paper 3: train one variant of its colour GAN."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

from components.core.contract import Run, comparing_step
from components.gan_training.params import ColourParams, Variant
from components.gan_training.parts import of_label, training_length

if TYPE_CHECKING:
    import numpy as np
    from torch import Tensor

    from components.core.images import ImageSet
    from components.core.training import History
    from components.gan_training.colour import ColourGAN


@comparing_step("variant")
def train_colour(params: ColourParams, run: Run, *, data: Path, variant: Variant, dataset: str, replicate: int) -> None:
    """Train one variant of the colour GAN on one data set, or on "all"; keep what it makes of the test images.

    Replicates differ in nothing but their seed, which hangs on their number.
    """
    import numpy as np
    import torch

    from components.core.images import TEST_FOLD, ImageSet, as_levels, check_generated, save_model, to_grey
    from components.core.training import (
        Batches,
        as_floats,
        centre_crop,
        crop_and_flip,
        device,
        restarting,
        seed_draws,
        train,
    )
    from components.gan_training.recipes import colour_gan

    photographs = of_label(ImageSet.load(data), dataset)
    training_part, test_part = photographs.training(TEST_FOLD), photographs.test(TEST_FOLD)
    _check_photographs(training_part, test_part, params.crop, dataset)
    origin = training_part.digest()
    run.journal.dataset(f"{dataset}, training part", origin, str(data), training_part.counts())

    images = torch.from_numpy(np.array(training_part.images)).to(device())
    originals = as_floats(centre_crop(torch.from_numpy(np.array(test_part.images)), params.crop)).to(device())
    updates = training_length(params.updates, params.epochs, len(images), params.batch_size)

    def attempt(run: Run) -> "tuple[ColourGAN, dict[str, Any], np.ndarray, History]":
        seed_draws(run, "networks")
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
        parts = [gan.render(part).cpu().numpy() for part in to_grey(originals).split(params.batch_size)]
        rendered = np.concatenate(parts)
        check_generated(rendered, originals.cpu().numpy(), f"the test images as {variant} colours them")
        return gan, config, rendered, history

    gan, config, rendered, history = restarting(params, run, attempt)
    history.save(run.out / "history.csv")
    np.save(run.out / "rendered.npy", as_levels(rendered))
    save_model(run.out, gan.generator, config, origin=origin, kind=variant, dataset=dataset, replicate=replicate)


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

    from components.core.images import as_levels

    rows = torch.cat([grey.expand_as(originals), rendered, originals], dim=3)
    return as_levels(rows.movedim(1, -1).flatten(0, 1).cpu().numpy())
