"""Every adversarial training, really dying: it is told, begun anew, and its history says so."""

import csv
from collections.abc import Callable, Mapping
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from components.core.contract import Run
from components.core.errors import Collapse
from components.core.storage import Checkpoints
from components.core.telemetry import Journal
from components.core.training import WINDOW, Adversary, Batches, History, health, restarting, train
from components.gan_training.egan import EGAN
from components.gan_training.losses import MUTATIONS
from components.gan_training.networks import egan as egan_networks
from components.gan_training.recipes import colour_gan, improved_dcgan, plain_gan
from components.refinement.networks import Discriminator, Refiner
from components.refinement.simgan import SimGAN

STEPS = WINDOW + 4
"""A window of looks, one a step here, and a few more."""

DEATHS: Mapping[str, Callable[[Tensor], Tensor]] = {
    "one image": lambda images: images[:1].expand_as(images),
    "blur": lambda images: images.mean(dim=(2, 3), keepdim=True).expand_as(images),
    "white": lambda images: images * 0 + 1,
    "black and white": lambda images: images + (images.sign() - images).detach(),
    "not a number": lambda images: images * float("nan"),
}


def smooth(count: int, channels: int, size: int, seed: int) -> Tensor:
    """Clouds (count, channels, size, size) in [-1, 1]."""
    coarse = torch.randn(count, channels, 5, 5, generator=torch.Generator().manual_seed(seed))
    return F.interpolate(coarse, size, mode="bilinear").clamp(-1, 1)


def egan(params: Any, colour_params: Any) -> tuple[Adversary, list[nn.Module], list[Tensor]]:
    built = EGAN(
        egan_networks.Generator(4, 1, 4, 16),
        egan_networks.Discriminator(1, 4, 16),
        learning_rate_generator=1e-3,
        learning_rate_discriminator=1e-3,
        betas=(0.5, 0.99),
        augment=lambda images: images,
        gamma=0.1,
        alpha=1.0,
        discriminator_steps=1,
        mutations=list(MUTATIONS),
        selection="fitness",
        judged_every=3,
        averaging=0.9,
        generations=STEPS,
        sample_count=2,
    )
    return built, [child.generator for child in built.children], [smooth(40, 1, 16, 0)]


def simgan(params: Any, colour_params: Any) -> tuple[Adversary, list[nn.Module], list[Tensor]]:
    synthetic = smooth(40, 1, 16, 0)
    built = SimGAN(
        Refiner(1, 4),
        Discriminator(1, 4),
        learning_rate_refiner=1e-3,
        learning_rate_discriminator=0.1,
        regularisation=1.0,
        discriminator_warmup=10,
        refiner_updates=2,
        buffer_size=20,
        fixed_images=synthetic[:2],
    )
    return built, [built.refiner], [synthetic, smooth(40, 1, 16, 1)]


def gan(params: Any, colour_params: Any) -> tuple[Adversary, list[nn.Module], list[Tensor]]:
    built = plain_gan(params("gan"), 1, 28).gan
    return built, [built.generator], [smooth(40, 1, 28, 0)]


def dcgan(params: Any, colour_params: Any) -> tuple[Adversary, list[nn.Module], list[Tensor]]:
    built = improved_dcgan(params("dcgan"), 1, 28).gan
    return built, [built.generator], [smooth(40, 1, 28, 0)]


def colour(params: Any, colour_params: Any) -> tuple[Adversary, list[nn.Module], list[Tensor]]:
    built = colour_gan(colour_params(), "hcegan", STEPS)[1]
    return built, [built.generator], [smooth(40, 3, 32, 0)]


def well(given: Tensor, made: Tensor) -> Tensor:
    """What a trained generator would make, in place of what this one does."""
    ideal = given.expand_as(made) if given.ndim == 4 else smooth(*made.shape[:3], seed=1)
    return 0.999 * ideal + 0.001 * made


TRAINERS = (egan, simgan, gan, dcgan, colour)


@pytest.fixture
def fit(params: Callable[..., Any], colour_params: Callable[..., Any], tmp_path, monkeypatch) -> Callable[..., History]:
    """Trains as a step does; `spoilt` says of an attempt whether its generator dies."""
    monkeypatch.setattr(health, "LOOK_STEPS", 1)
    section = params("gan", on_collapse="restart", batch_size=8)
    journal = Journal(tmp_path / "journals", {"step": "spoilt"})

    def run(trainer: Callable[..., Any], death: str, spoilt: Callable[[int], bool]) -> History:
        def attempt(given: Run) -> History:
            torch.manual_seed(given.attempt)
            built, generators, images = trainer(params, colour_params)
            change = DEATHS[death] if spoilt(given.attempt) else None
            for generator in generators:
                generator.register_forward_hook(lambda _, given, made: change(made) if change else well(given[0], made))
            return train(built, [Batches(each, batch_size=8, seed=0) for each in images], section, given, steps=STEPS)

        return restarting(section, Run(tmp_path / "out", "f", {}, 7, Checkpoints("f"), journal), attempt)

    return run


@pytest.mark.parametrize("death", DEATHS)
@pytest.mark.parametrize("trainer", TRAINERS)
def test_a_death_is_told_and_the_training_begun_anew(trainer, death, fit, tmp_path, capsys) -> None:
    history = fit(trainer, death, lambda attempt: attempt == 0)
    told = capsys.readouterr().err
    assert ("diverged at step 1:" if death == "not a number" else "The training collapsed at step ") in told
    assert "It begins anew (1 of 3 times at most)." in told
    assert (len(history.rows), history.collapsed_at()) == (STEPS, 0)
    history.save(tmp_path / "history.csv")
    with (tmp_path / "history.csv").open() as stream:
        assert next(csv.DictReader(stream))["restarted"] == "1"


def test_a_training_that_dies_again_and_again_ends_with_a_sentence(fit) -> None:
    with pytest.raises(Collapse, match=r"diverged at step 1: .* It had begun anew 3 times, in vain: "):
        fit(gan, "not a number", lambda attempt: True)
