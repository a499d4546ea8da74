"""One iteration of the GAN and of the DCGAN: who learns what from which images."""

import copy
import io
import math
from collections.abc import Callable
from typing import Any

import pytest
import torch
from hand_worked import Brightness, Uniform
from torch import Tensor, nn

from components.core.training import MARGIN, vital_signs
from components.gan_training.gan import GAN, discriminator_loss, generator_loss
from components.gan_training.networks import dcgan, gan
from components.gan_training.recipes import improved_dcgan, plain_gan

Check = Callable[[Any, Any], None]
Build = Callable[[str], GAN]

both = pytest.mark.parametrize("kind", ["gan", "dcgan"])


@pytest.fixture
def make_gan(params: Callable[..., Any]) -> Build:
    def build(kind: str) -> GAN:
        torch.manual_seed(0)
        recipe = {"gan": plain_gan, "dcgan": improved_dcgan}[kind]
        return recipe(params(kind), channels=1, size=8).gan

    return build


def real_images(seed: int) -> Tensor:
    return torch.rand(6, 1, 8, 8, generator=torch.Generator().manual_seed(seed)) * 2 - 1


def test_discriminator_loss_is_cross_entropy_over_the_combined_batch() -> None:
    real, fake = torch.tensor([math.log(3)]), torch.tensor([0.0])  # D = 3/4 and 1/2
    assert discriminator_loss(real, fake).item() == pytest.approx(-(math.log(3 / 4) + math.log(1 / 2)) / 2)


def test_generator_loss_does_not_saturate() -> None:
    logits = torch.tensor([-math.log(3), -1000.0], requires_grad=True)  # D = 1/4 and 0
    loss = generator_loss(logits)
    loss.backward()
    assert loss.item() == pytest.approx((-math.log(1 / 4) + 1000) / 2)
    assert logits.grad.tolist() == pytest.approx([-3 / 8, -1 / 2])


@both
def test_both_networks_learn(kind: str, make_gan: Build) -> None:
    trainer = make_gan(kind)
    networks = [trainer.generator, trainer.discriminator]
    before = [copy.deepcopy(list(network.parameters())) for network in networks]
    trainer.step(real_images(0))
    for network, weights in zip(networks, before, strict=True):
        assert not any(torch.equal(*pair) for pair in zip(network.parameters(), weights, strict=True))


@pytest.mark.parametrize(("kind", "updates"), [("gan", 1), ("dcgan", 5)])
def test_the_discriminator_takes_its_updates_on_one_combined_batch(kind: str, updates: int, make_gan: Build) -> None:
    trainer = make_gan(kind)
    seen: list[Tensor] = []
    trainer.discriminator.register_forward_pre_hook(lambda _, given: seen.append(given[0].detach().clone()))
    real = real_images(0)
    trainer.step(real)
    combined, judged = seen[:updates], seen[updates:]
    assert all(torch.equal(images, combined[0]) for images in combined)
    assert torch.equal(combined[0][:6], real)
    assert len(combined[0]) == 12
    assert [len(images) for images in judged] == [6]  # the generator's own update, on fresh images
    assert not torch.equal(judged[0], combined[0][6:])


@both
def test_the_generators_update_leaves_the_discriminator_as_it_is(
    kind: str, make_gan: Build, assert_same_state: Check
) -> None:
    trainer = make_gan(kind)
    trained: list[dict[str, Tensor]] = []
    trainer.discriminator_optimiser.register_step_post_hook(
        lambda *_: trained.append(copy.deepcopy(trainer.discriminator.state_dict()))
    )
    trainer.step(real_images(0))
    assert_same_state(trained[-1], trainer.discriminator.state_dict())
    assert all(weight.requires_grad for weight in trainer.discriminator.parameters())


def test_the_frozen_discriminator_judges_by_moving_statistics_and_drops_features(make_gan: Build) -> None:
    trainer = make_gan("dcgan")
    modes: list[dict[type, set[bool]]] = []

    def look(network: nn.Module, _: Any) -> None:
        kinds = (nn.BatchNorm2d, dcgan.Dropout)
        modes.append({kind: {each.training for each in network.modules() if isinstance(each, kind)} for kind in kinds})

    trainer.discriminator.register_forward_pre_hook(look)
    trainer.step(real_images(0))
    assert modes == [{nn.BatchNorm2d: {True}, dcgan.Dropout: {True}}] * 5 + [
        {nn.BatchNorm2d: {False}, dcgan.Dropout: {True}}
    ]
    assert all(module.training for module in trainer.discriminator.modules())


def test_rates_decay_with_the_updates_of_their_own_network(make_gan: Build) -> None:
    trainer = make_gan("dcgan")
    for iteration in range(3):
        trainer.step(real_images(iteration))
    assert trainer.generator_optimiser.param_groups[0]["lr"] == pytest.approx(1e-3 / (1 + 1e-2 * 3))
    assert trainer.discriminator_optimiser.param_groups[0]["lr"] == pytest.approx(2e-3 / (1 + 3e-2 * 15))


@both
def test_metrics_are_detached_scalars(kind: str, make_gan: Build) -> None:
    metrics = make_gan(kind).step(real_images(0))
    assert list(metrics) == ["discriminator_loss", "generator_loss"]
    assert all(value.ndim == 0 and not value.requires_grad for value in metrics.values())


def test_metrics_against_hand_computed_values() -> None:
    """Loss and margin are those before the discriminator has learnt from the batch; the generator's is after."""
    generator, discriminator = Uniform(-0.5), Brightness()
    trainer = GAN(
        generator,
        discriminator,
        torch.optim.SGD(generator.parameters(), 0.1),
        torch.optim.SGD(discriminator.parameters(), 0.1),
        generator_decay=0.0,
        discriminator_decay=0.0,
        discriminator_steps=1,
        sample_count=1,
    )
    metrics = trainer.step(torch.ones(2, 1, 2, 2))

    def sigmoid(logit: float) -> float:
        return 1 / (1 + math.exp(-logit))

    real, fake = sigmoid(2.0), sigmoid(-1.0)
    assert metrics["discriminator_loss"].item() == pytest.approx(-(math.log(real) + math.log(1 - fake)) / 2)
    assert vital_signs([trainer.look])[MARGIN].item() == pytest.approx(real - fake)
    weight = 2.0 - 0.1 * (-(1 - real) * 1.0 + fake * -0.5) / 2
    fake = sigmoid(-0.5 * weight)
    assert metrics["generator_loss"].item() == pytest.approx(-math.log(fake))
    assert generator.brightness.item() == pytest.approx(-0.5 + 0.1 * (1 - fake) * weight)


@both
def test_a_restored_run_goes_on_with_the_same_bytes(kind: str, make_gan: Build, assert_same_state: Check) -> None:
    trainer = make_gan(kind)
    for iteration in range(3):
        trainer.step(real_images(iteration))
    file = io.BytesIO()
    torch.save({"algorithm": trainer.state_dict(), "rng": torch.get_rng_state()}, file)
    for iteration in range(3, 6):
        trainer.step(real_images(iteration))

    resumed = make_gan(kind)
    file.seek(0)
    state = torch.load(file, weights_only=True)
    resumed.load_state_dict(state["algorithm"])
    torch.set_rng_state(state["rng"])
    for iteration in range(3, 6):
        resumed.step(real_images(iteration))
    assert_same_state(trainer.state_dict(), resumed.state_dict())
    assert torch.equal(trainer.samples(), resumed.samples())


@both
def test_the_same_seed_gives_the_same_bytes(kind: str, make_gan: Build, assert_same_state: Check) -> None:
    states = []
    for _ in range(2):
        trainer = make_gan(kind)
        for iteration in range(3):
            trainer.step(real_images(iteration))
        states.append(trainer.state_dict())
    assert_same_state(*states)


@both
def test_samples_come_from_fixed_noise_one_by_one_and_draw_nothing(kind: str, make_gan: Build) -> None:
    trainer = make_gan(kind)
    trainer.step(real_images(0))
    rng = torch.get_rng_state()
    samples = trainer.samples()
    assert samples.shape == (4, 1, 8, 8)
    assert torch.equal(samples, trainer.samples())
    assert torch.equal(rng, torch.get_rng_state())
    alone = trainer.generator.eval()(trainer.fixed_noise[:1])
    torch.testing.assert_close(alone, samples[:1])  # the moving statistics: no sample hangs on the others


@both
def test_an_iteration_in_bfloat16_works(kind: str, make_gan: Build) -> None:
    with torch.autocast("cpu", dtype=torch.bfloat16):
        metrics = make_gan(kind).step(real_images(0))
    assert all(torch.isfinite(value) for value in metrics.values())


def test_recipes_use_the_papers_networks_and_optimisers(make_gan: Build) -> None:
    plain, improved = make_gan("gan"), make_gan("dcgan")
    assert isinstance(plain.generator, gan.Generator)
    assert isinstance(improved.generator, dcgan.Generator)
    assert isinstance(plain.generator_optimiser, torch.optim.Adam)
    assert isinstance(improved.generator_optimiser, torch.optim.RMSprop)
    for trainer in (plain, improved):
        assert isinstance(trainer.discriminator_optimiser, torch.optim.Adam)
