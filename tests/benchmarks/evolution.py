"""What evolution is worth to the E-GAN: `python tests/benchmarks/evolution.py`.

Trains generators of simulated hearts of one class with the default settings, and changes only who survives: the fittest
child (chosen every tenth generation, or in every one); any child; no choice at all, each mutation by itself. All get
the same seconds of processor time, not the same generations, since a choice costs time. It prints, for each, means and
standard deviations over the seeds: diversity and sharpness, of the real images' (1 is best), and a kernel distance
from other people of the class (0 is best). The people are of a seed that no test uses.
"""

import argparse
import statistics
import tempfile
import time
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from components.core.training import Batches
from components.data_prep.cohort import write_cohort
from components.data_prep.labels import read_labels
from components.data_prep.problems import Problems
from components.data_prep.region import Window, regions
from components.gan_training.augmentation import perturb
from components.gan_training.egan import EGAN
from components.gan_training.losses import MUTATIONS
from components.gan_training.networks.egan import Discriminator, Generator
from components.gan_training.noise import draw_images, draw_noise
from components.gan_training.params import EganParams
from pipelines.cardiac import PIPELINE

CANDIDATES: dict[str, dict[str, Any]] = {
    "fittest, every 10th": {"judged_every": 10},
    "fittest, always": {"judged_every": 1},
    "any child, every 10th": {"selection": "random", "judged_every": 10},
    **{f"{name} alone": {"mutations": [name], "judged_every": 10} for name in MUTATIONS},
}
COHORT_SEED = 31


def main() -> None:
    arguments = read_arguments()
    torch.set_num_threads(1)
    cardiac = PIPELINE.load()
    real, others = hearts(arguments.people, cardiac.simulate.model_dump(), cardiac.prepare)
    print(f"{'survivor':24}{'generations':>12}{'diversity':>16}{'sharpness':>16}{'distance':>18}")
    for name, changes in CANDIDATES.items():
        params = cardiac.egan.model_copy(update=changes)
        seconds = measure(params, real)
        generations = round(arguments.seconds / seconds)
        found = [scores(train(params, real, generations, seed), real, others) for seed in range(arguments.seeds)]
        columns = [f"{statistics.mean(each):8.3f} ± {statistics.stdev(each):5.3f}" for each in zip(*found, strict=True)]
        print(f"{name:24}{generations:12}" + "".join(f"{column:>17}" for column in columns), flush=True)


def hearts(people: int, simulate: dict[str, Any], prepare: Any) -> tuple[Tensor, Tensor]:
    """Images (N, 1, H, W) of so many healthy people to train on, and of ten times as many others."""
    with tempfile.TemporaryDirectory() as folder:
        raw = Path(folder)
        write_cohort(raw, **simulate | {"patients": 1, "non_patients": 11 * people, "seed": COHORT_SEED})
        problems = Problems()
        window = Window(prepare.size, prepare.spacing, prepare.low_percentile, prepare.high_percentile)
        entries = [entry for entry in read_labels(raw, problems) if entry.label == "non-patient"]
        images = torch.from_numpy(np.concatenate([regions(raw, entry, window, problems) for entry in entries]))
    count = people * simulate["slices"]
    return images[:count], images[count:]


def measure(params: EganParams, real: Tensor, generations: int = 40) -> float:
    """Processor seconds of a generation."""
    start = time.process_time()
    train(params, real, generations, seed=0)
    return (time.process_time() - start) / generations


def train(params: EganParams, real: Tensor, generations: int, seed: int) -> Tensor:
    """Images that a generator draws after its training."""
    torch.manual_seed(seed)
    egan = EGAN(
        Generator(params.latent_dim, 1, params.generator_width, real.shape[-1]),
        Discriminator(1, params.discriminator_width, real.shape[-1]),
        learning_rate_generator=params.generator_learning_rate,
        learning_rate_discriminator=params.discriminator_learning_rate,
        betas=params.betas,
        augment=partial(
            perturb, translation=params.translation, brightness=params.brightness, contrast=params.contrast
        ),
        gamma=params.gamma,
        alpha=params.alpha,
        discriminator_steps=params.discriminator_steps,
        mutations=params.mutations,
        selection=params.selection,
        judged_every=params.judged_every,
        averaging=params.averaging,
        generations=generations,
        sample_count=1,
    )
    batches = Batches(real, batch_size=params.batch_size, seed=seed)
    for generation in range(generations):
        egan.step(*batches[generation])
    return draw_images(egan.settled(), draw_noise(egan.generator, 256))


def scores(images: Tensor, real: Tensor, others: Tensor) -> tuple[float, float, float]:
    """Diversity and sharpness of the real images', and the distance from other people's images."""
    diversity = images.std(dim=0).mean() / real.std(dim=0).mean()
    return diversity.item(), (sharpness(images) / sharpness(real)).item(), distance(edges(images), edges(others))


def sharpness(images: Tensor) -> Tensor:
    """Mean squared difference of neighbouring pixels."""
    return images.diff(dim=-1).square().mean() + images.diff(dim=-2).square().mean()


def edges(images: Tensor) -> Tensor:
    """How strong edges of each of 8 directions are in each of 8×8 parts of an image: (N, 512)."""
    rows = images[..., 2:, 1:-1] - images[..., :-2, 1:-1]
    columns = images[..., 1:-1, 2:] - images[..., 1:-1, :-2]
    directions = (torch.atan2(rows, columns) % torch.pi / torch.pi * 8).long().clamp(0, 7)
    strengths = torch.hypot(rows, columns)
    return torch.cat([F.adaptive_avg_pool2d(strengths * (directions == each), 8) for each in range(8)], 1).flatten(1)


def distance(features: Tensor, others: Tensor) -> float:
    """Unbiased squared kernel distance (Bińkowski et al. 2018) of features, scaled to the others' spread."""
    mean, spread = others.mean(dim=0), others.std(dim=0) + 1e-6
    first, second = (features - mean) / spread, (others - mean) / spread

    def kernel(left: Tensor, right: Tensor) -> Tensor:
        return (left @ right.T / left.shape[1] + 1) ** 3

    within = sum(
        (kernel(each, each).sum() - kernel(each, each).trace()) / (len(each) * (len(each) - 1))
        for each in (first, second)
    )
    return float(within - 2 * kernel(first, second).mean())


def read_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.ArgumentDefaultsHelpFormatter)
    parser.add_argument("--people", type=int, default=8, help="to train on, two images each")
    parser.add_argument("--seconds", type=float, default=60.0, help="of processor time a training")
    parser.add_argument("--seeds", type=int, default=3)
    return parser.parse_args()


if __name__ == "__main__":
    main()
