"""One generation of the E-GAN: who is bred, judged and kept."""

import copy
import io
import math
from collections.abc import Callable
from typing import Any

import pytest
import torch
from hand_worked import Brightness, Uniform
from torch import Tensor, nn

from components.gan_training.egan import EGAN, diversity, quality
from components.gan_training.losses import MUTATIONS
from components.gan_training.networks.egan import Discriminator, Generator

Check = Callable[[Any, Any], None]


def as_they_are(images: Tensor) -> Tensor:
    return images


def make_egan(**changes: Any) -> EGAN:
    settings = {
        "learning_rate_generator": 1e-3,
        "learning_rate_discriminator": 1e-3,
        "betas": (0.5, 0.99),
        "augment": as_they_are,
        "gamma": 0.1,
        "alpha": 0.4,
        "discriminator_steps": 1,
        "mutations": list(MUTATIONS),
        "selection": "fitness",
        "judged_every": 1,
        "averaging": 0.9,
        "generations": 1000,
        "sample_count": 4,
    } | changes
    torch.manual_seed(0)
    return EGAN(Generator(8, 1, 4, 16), Discriminator(1, 4, 16), **settings)


def real_images(seed: int) -> Tensor:
    return torch.rand(6, 1, 16, 16, generator=torch.Generator().manual_seed(seed)) * 2 - 1


def test_rates_stay_for_half_of_the_training_and_then_fall_to_nothing() -> None:
    egan = make_egan(generations=8)
    rates = []
    for generation in range(8):
        egan.step(real_images(generation))
        optimisers = [egan.discriminator_optimiser, *(child.optimiser for child in egan.children)]
        (rate,) = {optimiser.param_groups[0]["lr"] for optimiser in optimisers}
        rates.append(rate)
    assert rates == pytest.approx([1e-3] * 5 + [7.5e-4, 5e-4, 2.5e-4])


def weights(network: nn.Module) -> Tensor:
    return torch.cat([tensor.detach().flatten() for tensor in network.state_dict().values()])


def test_quality_is_the_mean_probability() -> None:
    assert quality(torch.tensor([0.0, math.log(3)])).item() == pytest.approx((1 / 2 + 3 / 4) / 2)


def test_diversity_is_minus_log_of_the_norm_over_all_weights() -> None:
    assert diversity([torch.tensor([3.0]), torch.tensor([[4.0]])]).item() == pytest.approx(-math.log(5))


def test_fitness_against_hand_computed_values() -> None:
    """Real brightness 1, fake b, D = σ(w·brightness): ∂/∂w[−log D(x) − log(1 − D(G))] = −σ(−w) + b σ(wb)."""
    egan = EGAN(
        Uniform(-0.5),
        Brightness(),
        learning_rate_generator=0.1,
        learning_rate_discriminator=1e-12,
        betas=(0.5, 0.99),
        augment=as_they_are,
        gamma=0.3,
        alpha=1.0,
        discriminator_steps=1,
        mutations=["heuristic"],
        selection="fitness",
        judged_every=1,
        averaging=0.9,
        generations=1000,
        sample_count=1,
    )
    metrics = egan.step(torch.ones(2, 1, 2, 2))
    brightness = -0.4  # Adam's first step is the learning rate, and D likes bright images
    probability = 1 / (1 + math.exp(-2 * brightness))
    gradient = -1 / (1 + math.exp(2)) + brightness * probability
    assert egan.generator.brightness.item() == pytest.approx(brightness, rel=1e-5)
    assert metrics["quality"].item() == pytest.approx(probability, rel=1e-5)
    assert metrics["diversity"].item() == pytest.approx(-math.log(abs(gradient)), rel=1e-5)
    assert metrics["fitness"].item() == pytest.approx(probability - 0.3 * math.log(abs(gradient)), rel=1e-5)


def test_the_survivor_is_the_fittest_child() -> None:
    egan = make_egan()
    survivors = set()
    for generation in range(12):
        metrics = egan.step(real_images(generation))
        children = torch.stack([metrics[f"fitness_{name}"] for name in MUTATIONS])
        assert metrics["survivor"] == children.argmax()
        assert metrics["fitness"] == children.max()
        survivors.add(int(metrics["survivor"]))
    assert len(survivors) > 1


def test_the_saved_generator_is_the_survivor_bred_alone(assert_same_state: Check) -> None:
    """Repeated with the surviving mutation as the only child, a generation ends in the same state."""
    egan = make_egan()
    first_survivors = 0
    for generation in range(8):
        before, rng = copy.deepcopy(egan.state_dict()), torch.get_rng_state()
        metrics = egan.step(real_images(generation))
        after = torch.get_rng_state()
        alone = make_egan(mutations=[list(MUTATIONS)[int(metrics["survivor"])]])
        alone.load_state_dict(before)
        torch.set_rng_state(rng)
        alone.step(real_images(generation))
        kept = egan.state_dict().keys() - {"survivor", "verdict"}  # what they say of one child is not said of three
        assert_same_state(*({key: each.state_dict()[key] for key in kept} for each in (egan, alone)))
        assert egan.state_dict()["generator"].keys() == egan.generator.state_dict().keys()
        torch.set_rng_state(after)
        first_survivors += int(metrics["survivor"]) == 0
    assert first_survivors < 8


def test_the_generator_given_is_the_one_that_evolves() -> None:
    torch.manual_seed(0)
    egan = make_egan()
    generator = egan.generator
    before = weights(generator)
    egan.step(real_images(0))
    assert egan.generator is generator
    assert not torch.equal(before, weights(generator))


def test_a_restored_run_goes_on_with_the_same_bytes(assert_same_state: Check) -> None:
    egan = make_egan(judged_every=2)
    for generation in range(3):
        egan.step(real_images(generation))
    file = io.BytesIO()
    torch.save({"algorithm": egan.state_dict(), "rng": torch.get_rng_state()}, file)
    for generation in range(3, 6):
        egan.step(real_images(generation))

    resumed = make_egan(judged_every=2)
    file.seek(0)
    state = torch.load(file, weights_only=True)
    resumed.load_state_dict(state["algorithm"])
    torch.set_rng_state(state["rng"])
    for generation in range(3, 6):
        resumed.step(real_images(generation))
    assert_same_state(egan.state_dict(), resumed.state_dict())
    assert torch.equal(egan.samples(), resumed.samples())


def test_the_look_is_at_the_survivor_and_draws_nothing() -> None:
    egan = make_egan()
    real = real_images(0)
    metrics = egan.step(real)
    rng = torch.get_rng_state()
    again = make_egan()
    judged: list[Tensor] = []
    for child in again.children:
        child.generator.register_forward_hook(lambda *given: judged.append(given[2].detach()))
    again.step(real)
    assert torch.equal(rng, torch.get_rng_state())
    survivors = judged[-len(MUTATIONS) :][int(metrics["survivor"])]
    assert torch.equal(egan.look.fake, survivors)
    assert torch.equal(egan.look.real, real)


def test_random_selection_keeps_any_child() -> None:
    egan = make_egan(selection="random")
    survivors = [int(egan.step(real_images(generation))["survivor"]) for generation in range(20)]
    assert set(survivors) == {0, 1, 2}


def test_random_selection_follows_the_global_generator() -> None:
    histories = []
    for _ in range(2):
        egan = make_egan(selection="random")
        histories.append([int(egan.step(real_images(generation))["survivor"]) for generation in range(5)])
    assert histories[0] == histories[1]


def test_the_discriminator_takes_its_steps_before_the_mutations() -> None:
    egan = make_egan(discriminator_steps=3)
    egan.step(real_images(0))
    steps = {int(state["step"]) for state in egan.discriminator_optimiser.state.values()}
    assert steps == {3}


def test_judging_leaves_the_discriminator_as_trained() -> None:
    egan = make_egan()
    discriminator, trained = egan.discriminator, []
    egan.discriminator_optimiser.register_step_post_hook(lambda *_: trained.append(weights(discriminator)))
    egan.step(real_images(0))
    assert torch.equal(trained[-1], weights(discriminator))


def test_between_judgements_the_parent_goes_on_under_the_mutation_that_last_won(assert_same_state: Check) -> None:
    egan = make_egan(judged_every=3, selection="random")
    winners = set()
    for generation in range(24):
        before, rng = copy.deepcopy(egan.state_dict()), torch.get_rng_state()
        metrics = egan.step(real_images(generation))
        if generation % 3 == 0:
            last = metrics
            winners.add(int(metrics["survivor"]))
            continue
        assert all(torch.equal(metrics[name], last[name]) for name in metrics if name != "discriminator_loss")
        after = torch.get_rng_state()
        alone = make_egan(mutations=[list(MUTATIONS)[int(last["survivor"])]], judged_every=3)
        alone.load_state_dict(before | {"survivor": 0})
        torch.set_rng_state(rng)
        alone.step(real_images(generation))
        assert_same_state(*(each.state_dict()["generator"] for each in (egan, alone)))
        torch.set_rng_state(after)
    assert len(winners) > 1


def test_the_average_begins_as_the_mean_of_all_survivors_and_then_forgets_old_ones() -> None:
    egan = make_egan(averaging=0.75)
    expected = None
    for generation in range(8):
        egan.step(real_images(generation))
        survivor = torch.cat([weight.detach().flatten() for weight in egan.generator.parameters()])
        share = max(0.25, 1 / (generation + 1))
        expected = survivor if expected is None else (1 - share) * expected + share * survivor
    average = torch.cat([weight.detach().flatten() for weight in egan.average.parameters()])
    torch.testing.assert_close(average, expected)


def test_what_is_saved_normalises_by_its_own_images_and_draws_nothing() -> None:
    egan = make_egan()
    for generation in range(3):
        egan.step(real_images(generation))
    first = next(layer for layer in egan.average.modules() if isinstance(layer, nn.BatchNorm2d))
    seen: list[Tensor] = []
    first.register_forward_pre_hook(lambda _, given: seen.append(given[0]))
    rng = torch.get_rng_state()
    assert egan.settled() is egan.average
    assert torch.equal(rng, torch.get_rng_state())
    (features,) = seen
    torch.testing.assert_close(first.running_mean, features.mean((0, 2, 3)))
    torch.testing.assert_close(first.running_var, features.var((0, 2, 3)))


def test_without_averaging_the_survivor_is_saved() -> None:
    egan = make_egan(averaging=0.0)
    egan.step(real_images(0))
    for average, survivor in zip(egan.average.parameters(), egan.generator.parameters(), strict=True):
        torch.testing.assert_close(average, survivor)


def test_the_discriminator_trains_on_augmented_images_and_judges_them_as_they_are() -> None:
    seen: list[tuple[bool, float]] = []
    egan = make_egan(augment=lambda images: images + 100)
    egan.discriminator.register_forward_pre_hook(
        lambda network, given: seen.append((network.training, given[0].min().item()))
    )
    egan.step(real_images(0))
    training, mutating, *judging = seen
    assert training[0] and training[1] > 90
    assert mutating[1] > 90
    assert len(judging) == 1 + len(MUTATIONS)
    assert all(lowest >= -1 for _, lowest in judging) and all(lowest < 90 for _, lowest in judging)


def test_fitness_does_not_hang_on_the_length_that_spectral_normalisation_takes_away() -> None:
    fitness = []
    for length in (1.0, 8.0):
        egan = make_egan(learning_rate_discriminator=1e-12)
        with torch.no_grad():
            for name, weight in egan.discriminator.named_parameters():
                if name.endswith("original"):
                    weight *= length
        fitness.append(egan.step(real_images(0))["fitness"].item())
    assert fitness[0] == pytest.approx(fitness[1], abs=1e-4)


def test_samples_come_from_fixed_noise_and_draw_nothing() -> None:
    egan = make_egan()
    egan.step(real_images(0))
    rng = torch.get_rng_state()
    first, second = egan.samples(), egan.samples()
    assert first.shape == (4, 1, 16, 16)
    assert torch.equal(first, second)
    assert torch.equal(rng, torch.get_rng_state())


def test_metrics_are_detached_scalars() -> None:
    metrics = make_egan().step(real_images(0))
    assert {"discriminator_loss", "fitness", "quality", "diversity", "survivor"} <= metrics.keys()
    assert all(value.ndim == 0 and not value.requires_grad for value in metrics.values())


def test_a_generation_in_bfloat16_works() -> None:
    with torch.autocast("cpu", dtype=torch.bfloat16):
        metrics = make_egan().step(real_images(0))
    assert all(torch.isfinite(value) for value in metrics.values())
