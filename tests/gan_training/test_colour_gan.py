"""One step of the colour GAN, and the seven variants."""

import copy
import io
import math
from collections.abc import Callable
from typing import Any, get_args

import pytest
import torch
from torch import Tensor, nn

from components.core.images import to_grey
from components.core.training import MARGIN, vital_signs
from components.gan_training.colour import VARIANTS, ColourGAN
from components.gan_training.losses import cross_entropy, hinge_cross_entropy, hinge_squares
from components.gan_training.params import ColourParams, Variant
from components.gan_training.recipes import colour_gan

Build = Callable[..., ColourGAN]
Check = Callable[[Any, Any], None]

every_variant = pytest.mark.parametrize("variant", VARIANTS)

UPDATES = 1000


@pytest.fixture
def make_gan(colour_params: Callable[..., ColourParams]) -> Build:
    def build(variant: Variant = "hcegan", **changes: Any) -> ColourGAN:
        torch.manual_seed(0)
        return colour_gan(colour_params(**changes), variant, UPDATES)[1]

    return build


def photographs(seed: int) -> Tensor:
    return torch.rand(4, 3, 32, 32, generator=torch.Generator().manual_seed(seed)) * 2 - 1


def test_the_variants_are_the_papers() -> None:
    assert {name: (each.attention, each.discriminator_loss) for name, each in VARIANTS.items()} == {
        "pix2pix": (None, cross_entropy),
        "sa": ("torch", cross_entropy),
        "sa1": ("normal", cross_entropy),
        "sa2": ("uniform", cross_entropy),
        "hinge_mse": (None, hinge_squares),
        "hinge_bce": (None, hinge_cross_entropy),
        "hcegan": ("normal", hinge_cross_entropy),
    }
    assert tuple(VARIANTS) == get_args(Variant)


@every_variant
def test_both_networks_learn(variant: Variant, make_gan: Build) -> None:
    trainer = make_gan(variant)
    networks = [trainer.generator, trainer.discriminator]
    before = [copy.deepcopy(dict(network.named_parameters())) for network in networks]
    for update in range(2):  # γ is 0 at first: what lies behind it learns from the second update on
        trainer.step(photographs(update))
    for network, weights in zip(networks, before, strict=True):
        still = [name for name, weight in network.named_parameters() if torch.equal(weight, weights[name])]
        assert [name for name in still if not name.endswith("key.bias")] == []  # which changes no softmax


@pytest.mark.parametrize("variant", ["sa", "sa1", "sa2"])
def test_every_variant_with_attention_starts_as_pix2pix(variant: Variant, make_gan: Build) -> None:
    grey = to_grey(photographs(0))
    assert torch.equal(make_gan(variant).render(grey), make_gan("pix2pix").render(grey))


@pytest.mark.parametrize(("largest", "levels"), [(32, ["0", "1", "2"]), (16, ["1", "2"]), (10, ["2"]), (7, [])])
def test_attention_is_used_up_to_the_largest_side(largest: int, levels: list[str], make_gan: Build) -> None:
    assert list(make_gan("sa", largest_attention=largest).generator.attention) == levels


def test_the_generators_update_leaves_the_discriminator_as_it_is(make_gan: Build, assert_same_state: Check) -> None:
    trainer = make_gan()
    trained: list[dict[str, Tensor]] = []
    trainer.discriminator_optimiser.register_step_post_hook(
        lambda *_: trained.append(copy.deepcopy(trainer.discriminator.state_dict()))
    )
    trainer.step(photographs(0))
    assert_same_state(trained[-1], trainer.discriminator.state_dict())
    assert all(weight.requires_grad for weight in trainer.discriminator.parameters())


def test_the_generator_sees_grey_alone(make_gan: Build) -> None:
    trainer = make_gan()
    seen: list[Tensor] = []
    trainer.generator.register_forward_pre_hook(lambda _, given: seen.append(given[0]))
    images = photographs(0)
    trainer.step(images)
    assert [torch.equal(given, to_grey(images)) for given in seen] == [True]


def test_rendering_draws_nothing_and_leaves_training_on(make_gan: Build) -> None:
    trainer, grey = make_gan(dropout=0.5), to_grey(photographs(0))
    rng = torch.get_rng_state()
    rendered = trainer.render(grey)
    assert rendered.shape == (4, 3, 32, 32)
    assert torch.equal(rendered, trainer.render(grey))
    assert torch.equal(rng, torch.get_rng_state())
    assert trainer.generator.training


@every_variant
def test_metrics_are_detached_scalars(variant: Variant, make_gan: Build) -> None:
    metrics = make_gan(variant).step(photographs(0))
    assert list(metrics) == [
        "discriminator_loss",
        "discriminator_gradient",
        "vanishing",
        "generator_loss",
        "l1_loss",
    ]
    assert all(
        value.ndim == 0 and not value.requires_grad and value.dtype == torch.float32 for value in metrics.values()
    )


class Bias(nn.Module):
    """logit = weight · mean colour."""

    def __init__(self, weight: float) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.tensor(weight))

    def forward(self, grey: Tensor, colour: Tensor) -> Tensor:
        return self.weight * colour.mean(dim=(1, 2, 3))


class Tint(nn.Module):
    """One brightness everywhere, whatever the grey image."""

    def __init__(self, brightness: float) -> None:
        super().__init__()
        self.brightness = nn.Parameter(torch.tensor(brightness))

    def forward(self, grey: Tensor) -> Tensor:
        return self.brightness.expand(len(grey), 3, *grey.shape[2:])


def toy(weight: float, loss: Any = hinge_cross_entropy) -> ColourGAN:
    return ColourGAN(Tint(-0.5), Bias(weight), loss, learning_rate=0.1, beta_1=0.5, l1_weight=10.0, updates=UPDATES)


def sigmoid(value: float) -> float:
    return 1 / (1 + math.exp(-value))


def softplus(value: float) -> float:
    return math.log(1 + math.exp(value))


def test_metrics_against_hand_computed_values() -> None:
    """What is said of the discriminator is from before its update, what of the generator from before its own."""
    trainer = toy(0.4)
    metrics = trainer.step(torch.ones(2, 3, 2, 2))
    real, fake = 0.4, -0.2
    assert metrics["discriminator_loss"].item() == pytest.approx(softplus(1 - real) + softplus(1 + fake))
    assert vital_signs([trainer.look])[MARGIN].item() == pytest.approx(sigmoid(real) - sigmoid(fake))
    slope = -sigmoid(1 - real) * 1 + sigmoid(1 + fake) * -0.5
    assert metrics["discriminator_gradient"].item() == pytest.approx(-slope)
    assert metrics["vanishing"].item() == 0
    updated = 0.4 + 0.1  # Adam's first step is the learning rate
    assert metrics["generator_loss"].item() == pytest.approx(softplus(0.5 * updated))
    assert metrics["l1_loss"].item() == pytest.approx(1.5)
    assert trainer.generator.brightness.item() == pytest.approx(-0.4)


def test_a_discriminator_past_the_margin_on_every_image_has_vanished() -> None:
    trainer = toy(3.0)
    metrics = trainer.step(torch.ones(2, 3, 2, 2))
    assert metrics["discriminator_loss"].item() == pytest.approx(2 * math.log(2))
    assert metrics["discriminator_gradient"].item() == 0
    assert metrics["vanishing"].item() == 1
    assert trainer.discriminator.weight.item() == 3.0


def test_cross_entropy_does_not_vanish_there() -> None:
    assert toy(3.0, cross_entropy).step(torch.ones(2, 3, 2, 2))["vanishing"].item() == 0


def test_the_discriminator_judges_every_image_beside_its_grey_one(make_gan: Build) -> None:
    trainer, images = make_gan(), photographs(0)
    seen: list[tuple[Tensor, Tensor]] = []
    trainer.discriminator.register_forward_pre_hook(lambda _, given: seen.append(given))
    trainer.step(images)
    assert all(torch.equal(grey, to_grey(images)) for grey, _ in seen)
    real, rendered, judged_again = [colour for _, colour in seen]
    assert torch.equal(real, images)
    assert torch.equal(rendered, judged_again)


@every_variant
def test_a_restored_run_goes_on_with_the_same_bytes(
    variant: Variant, make_gan: Build, assert_same_state: Check
) -> None:
    trainer = make_gan(variant, dropout=0.5)
    for update in range(3):
        trainer.step(photographs(update))
    file = io.BytesIO()
    torch.save({"algorithm": trainer.state_dict(), "rng": torch.get_rng_state()}, file)
    for update in range(3, 6):
        trainer.step(photographs(update))

    resumed = make_gan(variant, dropout=0.5)
    file.seek(0)
    state = torch.load(file, weights_only=True)
    resumed.load_state_dict(state["algorithm"])
    torch.set_rng_state(state["rng"])
    for update in range(3, 6):
        resumed.step(photographs(update))
    assert_same_state(trainer.state_dict(), resumed.state_dict())


def test_the_same_seed_gives_the_same_bytes(make_gan: Build, assert_same_state: Check) -> None:
    states = []
    for _ in range(2):
        trainer = make_gan(dropout=0.5)
        for update in range(3):
            trainer.step(photographs(update))
        states.append(trainer.state_dict())
    assert_same_state(*states)


@every_variant
def test_a_step_in_bfloat16_works(variant: Variant, make_gan: Build) -> None:
    with torch.autocast("cpu", dtype=torch.bfloat16):
        metrics = make_gan(variant).step(photographs(0))
    assert all(torch.isfinite(value) and value.dtype == torch.float32 for value in metrics.values())


def test_a_few_updates_bring_the_colours_nearer(make_gan: Build) -> None:
    trainer, images = make_gan(learning_rate=2e-3), photographs(0)
    distances = [trainer.step(images)["l1_loss"].item() for _ in range(20)]
    assert distances[-1] < 0.95 * distances[0]


def test_rates_fall_over_the_second_half_of_the_training(make_gan) -> None:
    gan = make_gan("hcegan")
    rates = []
    for done in (0, UPDATES // 2, 3 * UPDATES // 4, UPDATES - 1):
        for schedule in (gan.generator_schedule, gan.discriminator_schedule):
            rates.append(schedule.lr_lambdas[0](done))
    assert rates == [1.0] * 4 + [0.5] * 2 + [pytest.approx(2 / UPDATES)] * 2
