"""Trains every adversarial training over several seeds and looks at its health: `python tests/benchmarks/health.py`.

SimGAN first, at the widths of the three profiles, on images of an E-GAN that is trained here on the simulated cohort:
none of its sets may move by more than 0.5, be saturated more than its input and twice as much as real images, or lose
half its input's diversity or sharpness. Then E-GAN, GAN, DCGAN (on all digits and on one) and the colour GAN, each as
its step runs it: none may collapse, and what it makes must be images. How long they train is given by arguments; else
the exit code is 1.
"""

import argparse
import sys
import tempfile
from collections.abc import Iterator
from contextlib import chdir
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from sklearn.datasets import load_sample_images

from components.core.contract import Section, load_params
from components.core.errors import Collapse
from components.core.images import NO_FOLD, TEST_FOLD, ImageSet
from components.core.training import DISTANCE, DIVERSITY, MARGIN, SATURATION, SHARPNESS, Look, vital_signs
from components.data_prep.bundled import write_bundled
from components.data_prep.step import PrepareDigitsParams, prepare, prepare_digits, simulate
from components.evaluation.histories import read_history
from components.gan_training.cardiac_step import synthesize, train_egan
from components.gan_training.colour_step import train_colour
from components.gan_training.digits_step import train_dcgan, train_gan
from components.refinement.step import refine
from pipelines.cardiac import CardiacParams
from pipelines.colour import ColourPipelineParams
from pipelines.digits import DigitsParams

PARAMS = Path(__file__).parents[2] / "params.yaml"
SIGNS = (DIVERSITY, SHARPNESS, SATURATION, DISTANCE, MARGIN)
LATE = 20
"""Looks at the end of a training whose mean is shown."""


def main() -> int:
    arguments = read_arguments()
    failed = 0
    print(f"{'training':24}  seed  {'  '.join(f'{sign:>20}' for sign in SIGNS)}")
    with tempfile.TemporaryDirectory() as folder, chdir(folder):
        for name, train in trainings(arguments):
            for seed in range(arguments.seeds):
                try:
                    signs, told = train(seed), ""
                except Collapse as collapse:
                    signs, told = {}, str(collapse)
                    failed += 1
                shown = "  ".join(f"{signs.get(sign, np.nan):20.3f}" for sign in SIGNS)
                print(f"{name:24}  {seed:4d}  {shown}  {told}", flush=True)
    return 1 if failed else 0


def trainings(arguments: argparse.Namespace) -> Iterator[tuple]:
    """Name and function of a seed, which gives the last signs, of every training."""
    cardiac = section("cardiac", CardiacParams, f"egan.generations={arguments.generations}", "prepare.folds=[0,1]")
    simulate(cardiac.simulate, out="raw")
    prepare(cardiac.prepare, raw="raw", out="data")

    def egan(seed: int, label: str = "patient", out: str = "egan") -> dict[str, float]:
        train_egan(seeded(cardiac.egan, seed), data="data", fold=0, replicate=0, label=label, out=out)
        return last_signs(Path(out))

    labels = cardiac.prepare.classes
    for label in labels:
        egan(0, label, f"egan-{label}")
    generators = [f"egan-{label}" for label in labels]
    synthesize(cardiac.synthesize, data="data", generators=generators, fold=0, replicate=0, out="synthetic")

    for profile in ("default", "smoke", "paper"):
        yield f"SimGAN, {profile} width", simgan(profile, arguments)
    yield "E-GAN", egan

    digits = section("digits", DigitsParams)
    Path("digits").mkdir()
    write_bundled(Path("digits"))
    prepare_digits(PrepareDigitsParams(size=28), raw="digits", out="digits-data")
    for step, params in ((train_gan, digits.gan), (train_dcgan, digits.dcgan)):
        for label in ("all", "6"):

            def digit(seed: int, step=step, params=params, label=label) -> dict[str, float]:
                given = seeded(params, seed).model_copy(update={"iterations": arguments.iterations})
                step(given, data="digits-data", label=label, replicate=0, out="digit")
                return last_signs(Path("digit"))

            yield f"{step.name}, {label}", digit

    photographs(64).save(Path("photographs"))
    colour = section("colour", ColourPipelineParams, f"train.updates={arguments.updates}")
    for variant in ("pix2pix", "hcegan"):

        def render(seed: int, variant=variant) -> dict[str, float]:
            given = {"variant": variant, "dataset": "all", "replicate": 0}
            train_colour(seeded(colour.train, seed), data="photographs", **given, out="colour")
            return last_signs(Path("colour"))

        yield f"colour, {variant}", render


def simgan(profile: str, arguments: argparse.Namespace):
    """SimGAN at a profile's widths and rates; batches of the default, so that a laptop bears it."""
    cardiac = section("cardiac", CardiacParams, profile=profile)
    default = section("cardiac", CardiacParams)
    warmup = max(cardiac.simgan.discriminator_warmup, default.simgan.discriminator_warmup)
    changes = {
        "batch_size": min(cardiac.simgan.batch_size, default.simgan.batch_size),
        "threads": 1,
        "discriminator_warmup": warmup,
        "updates": warmup + arguments.refinements,
    }

    def train(seed: int) -> dict[str, float]:
        refine(
            seeded(cardiac.simgan, seed).model_copy(update=changes),
            data=crops("data", arguments.crop),
            synthetic=crops("synthetic", arguments.crop, origin=ImageSet.load(Path("data-crops")).training(0).digest()),
            fold=0,
            replicate=0,
            out="refined",
        )
        real = ImageSet.load(Path("data-crops")).training(0)
        refined, synthetic = (ImageSet.load(Path(name)) for name in ("refined", "synthetic-crops"))
        images = [torch.from_numpy(np.array(each.images)) for each in (real, refined, synthetic)]
        signs = {name: value.item() for name, value in vital_signs([Look(*images[:2], given=images[2])]).items()}
        real_share, share, input_share = ((each.abs() > 0.99).float().mean().item() for each in images)
        broken = {
            "has left its input": signs[DISTANCE] > 0.5,
            "is saturated": share > max(2 * real_share, input_share),
            "has lost diversity": signs[DIVERSITY] < 0.5,
            "has lost sharpness": signs[SHARPNESS] < 0.5,
        }
        if any(broken.values()):
            raise Collapse(f"The refined set {', '.join(words for words, true in broken.items() if true)}: {signs}.")
        return signs

    return train


def crops(name: str, size: int, origin: str = "") -> str:
    """The middle of every image of a set, as a set of its own."""
    images = ImageSet.load(Path(name))
    start = (images.images.shape[2] - size) // 2
    middle = np.array(images.images[:, :, start : start + size, start : start + size])
    replace(images, images=middle, origin=origin).save(Path(f"{name}-crops"))
    return f"{name}-crops"


def photographs(size: int) -> ImageSet:
    """Squares cut out of scikit-learn's two photographs; each fifth is for testing."""
    squares = [
        photograph[top : top + size, left : left + size].transpose(2, 0, 1)
        for photograph in load_sample_images().images
        for top in range(0, photograph.shape[0] - size + 1, size)
        for left in range(0, photograph.shape[1] - size + 1, size)
    ]
    count = len(squares)
    return ImageSet(
        images=np.stack(squares),
        labels=np.zeros(count, dtype=np.int64),
        classes=("photograph",),
        groups=np.arange(count).astype(np.str_),
        folds=np.where(np.arange(count) % 5 == 0, TEST_FOLD, NO_FOLD),
    )


def last_signs(folder: Path) -> dict[str, float]:
    history = read_history(folder / "history.csv")
    looks = ~np.isnan(history[DIVERSITY])
    return {sign: float(np.nanmean(history[sign][looks][-LATE:])) for sign in SIGNS if sign in history}


def section(pipeline: str, model: type[Section], *overrides: str, profile: str = "default"):
    return load_params(PARAMS, pipeline, model, profile, [f"{pipeline}.{each}" for each in overrides])


def seeded(params: Section, seed: int):
    return params.model_copy(update={"seed": seed, "on_collapse": "stop"})


def read_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.ArgumentDefaultsHelpFormatter)
    parser.add_argument("--seeds", type=int, default=2)
    parser.add_argument("--generations", type=int, default=300, help="of the E-GAN")
    parser.add_argument("--refinements", type=int, default=200, help="updates of SimGAN after its warm-up")
    parser.add_argument("--crop", type=int, default=32, help="pixels along each side of what SimGAN refines")
    parser.add_argument("--iterations", type=int, default=500, help="of GAN and DCGAN")
    parser.add_argument("--updates", type=int, default=300, help="of the colour GAN")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
