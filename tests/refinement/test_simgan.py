"""SimGAN: its networks, history buffer, losses, schedule and state."""

import io
import math
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn

from components.core.errors import UserError
from components.refinement.networks import Discriminator, Refiner, Residual
from components.refinement.simgan import HistoryBuffer, SimGAN, discriminator_loss, realism_loss


def simgan(**changes: Any) -> SimGAN:
    settings = {
        "learning_rate_refiner": 0.01,
        "learning_rate_discriminator": 0.01,
        "regularisation": 1.0,
        "discriminator_warmup": 3,
        "refiner_updates": 2,
        "buffer_size": 6,
        "fixed_images": images(3, seed=7),
    }
    torch.manual_seed(0)
    return SimGAN(Refiner(1, 8), Discriminator(1, 8), **(settings | changes))


def images(count: int, seed: int, low: float = -1, high: float = 1) -> Tensor:
    return torch.empty(count, 1, 16, 16).uniform_(low, high, generator=torch.Generator().manual_seed(seed))


def train(subject: SimGAN, updates: int) -> None:
    for update in range(updates):
        subject.step(images(4, seed=update, high=0), images(4, seed=100 + update, low=0))


def shapes(layers: nn.Sequential, features: Tensor) -> list[tuple[str, tuple[int, ...]]]:
    found = []
    for layer in layers:
        features = layer(features)
        found.append((type(layer).__name__, tuple(features.shape[1:])))
    return found


class TestNetworks:
    def test_refiner_has_the_layers_of_table_1(self):
        assert shapes(Refiner(1, 16).layers, torch.zeros(1, 1, 80, 80)) == [
            ("Conv2d", (16, 80, 80)),
            *[("Residual", (16, 80, 80))] * 5,
            ("Conv2d", (1, 80, 80)),
            ("Tanh", (1, 80, 80)),
        ]

    def test_discriminator_has_the_layers_of_table_1(self):
        assert shapes(Discriminator(1, 16).layers, torch.zeros(1, 1, 80, 80)) == [
            ("Conv2d", (16, 40, 40)),
            ("PReLU", (16, 40, 40)),
            ("Conv2d", (16, 20, 20)),
            ("MaxPool2d", (16, 20, 20)),
            *[("Residual", (16, 20, 20))] * 2,
            ("Conv2d", (16, 20, 20)),
            ("PReLU", (16, 20, 20)),
            ("Conv2d", (2, 20, 20)),
        ]

    @pytest.mark.parametrize(
        ("network", "kernels"),
        [(Refiner(1, 8), [3] + [3, 3] * 5 + [1]), (Discriminator(1, 8), [3, 3] + [3, 3] * 2 + [1, 1])],
    )
    def test_kernels_are_those_of_table_1(self, network, kernels):
        layers = [layer for layer in network.modules() if isinstance(layer, nn.Conv2d)]
        assert [layer.kernel_size for layer in layers] == [(size, size) for size in kernels]

    def test_residual_structure_has_no_activation_after_the_sum(self):
        block = Residual(4)
        nn.init.zeros_(block.body[-1].weight)
        features = torch.randn(2, 4, 8, 8)
        assert torch.equal(block(features), features)  # negative values too

    def test_residual_structure_is_convolution_prelu_convolution(self):
        assert [type(layer) for layer in Residual(4).body] == [nn.Conv2d, nn.PReLU, nn.Conv2d]

    @given(st.integers(1, 3), st.integers(5, 40), st.integers(5, 40), st.floats(0, 1000))
    def test_refiner_keeps_shape_and_range_at_any_size_and_moves_no_value_by_more_than_a_half(
        self, channels, height, width, gain
    ):
        refiner = Refiner(channels, 8)
        nn.init.normal_(refiner.layers[-2].weight, std=gain)
        untouched = torch.empty(2, channels, height, width).uniform_(-1, 1)
        refined = refiner(untouched)
        assert refined.shape == untouched.shape
        assert refined.abs().max() <= 1
        assert (refined - untouched).abs().max() <= 0.5 + 1e-6

    def test_refiner_starts_as_the_identity(self):
        untouched = torch.empty(2, 3, 20, 20).uniform_(-1, 1)
        assert torch.equal(Refiner(3, 8)(untouched), untouched)

    def test_discriminator_starts_undecided(self):
        assert not Discriminator(1, 8)(images(2, seed=0)).any()


class TestHistoryBuffer:
    def test_fills_before_anything_is_drawn(self):
        buffer, batches = HistoryBuffer(6, images(1, 0)), [images(4, seed) for seed in range(2)]
        mixed = [buffer.mix(batch) for batch in batches]
        assert all(torch.equal(each, batch) for each, batch in zip(mixed, batches, strict=True))
        assert torch.equal(buffer.images, torch.cat(batches)[:6])

    @given(st.integers(1, 9), st.integers(0, 12))
    def test_half_of_a_batch_comes_from_the_full_buffer_and_the_rest_replaces_it(self, size, spare):
        buffer = HistoryBuffer(size + spare, images(1, 0))
        while buffer.filled < size + spare:
            buffer.mix(images(size, seed=buffer.filled))
        before, present = buffer.images.clone(), images(size, seed=1000)
        mixed = buffer.mix(present)
        half = size // 2
        drawn = [position(image, before) for image in mixed[size - half :]]
        assert torch.equal(mixed[: size - half], present[half:])
        assert len(set(drawn)) == half
        assert torch.equal(buffer.images[drawn], present[:half])
        kept = [place for place in range(size + spare) if place not in drawn]
        assert torch.equal(buffer.images[kept], before[kept])

    def test_state_makes_a_round_trip(self):
        buffer, restored = HistoryBuffer(6, images(1, 0)), HistoryBuffer(6, images(1, 0))
        buffer.mix(images(4, seed=1))
        restored.load_state_dict(buffer.state_dict())
        for each in (buffer, restored):
            each.mix(images(4, seed=2))
        assert restored.filled == 6
        assert torch.equal(restored.images, buffer.images)

    def test_smaller_than_half_a_batch_is_refused(self):
        with pytest.raises(UserError, match="buffer_size must be at least half the batch size, 4; got 3"):
            HistoryBuffer(3, images(1, 0)).mix(images(8, seed=0))


class TestLosses:
    refined = torch.tensor([[[[0.0, math.log(3)]], [[0.0, 0.0]]]])  # D = 1/2 and 3/4
    real = torch.tensor([[[[0.0, -math.log(4)]], [[0.0, 0.0]]]])  # D = 1/2 and 1/5

    def test_discriminator_loss_is_equation_2(self):
        expected = -(math.log(1 / 2) + math.log(3 / 4)) / 2 - (math.log(1 / 2) + math.log(4 / 5)) / 2
        assert discriminator_loss(self.refined, self.real).item() == pytest.approx(expected)

    def test_realism_loss_is_the_first_term_of_equation_3(self):
        expected = -(math.log(1 / 2) + math.log(1 / 4)) / 2
        assert realism_loss(self.refined).item() == pytest.approx(expected)

    def test_refiner_loss_is_equation_3(self):
        subject = simgan(regularisation=5.0, discriminator_warmup=0)
        nn.init.constant_(subject.refiner.layers[-2].bias, 0.1)
        synthetic = images(4, 0, high=0)
        expected = (subject.refine(synthetic) - synthetic).abs().mean().item()
        metrics = subject.step(synthetic, images(4, 1))
        assert metrics["change"].item() == pytest.approx(expected)
        assert metrics["refiner_loss"].item() == pytest.approx(metrics["realism_loss"].item() + 5 * expected)

    def test_strong_regularisation_keeps_the_image_and_none_lets_it_go(self):
        change = {}
        for regularisation in (0.0, 10.0):
            subject = simgan(regularisation=regularisation, discriminator_warmup=20)
            train(subject, 80)
            synthetic = images(8, seed=50, high=0)
            change[regularisation] = (subject.refine(synthetic) - synthetic).abs().mean()
        assert change[10.0] < change[0.0] / 2


class TestSchedule:
    def test_paper_s_is_100_discriminator_updates_then_2_to_1(self):
        subject = simgan(discriminator_warmup=100, refiner_updates=2)
        turns = "".join("R" if subject.trains_refiner(update) else "D" for update in range(112))
        assert turns == "D" * 100 + "RRD" * 4

    def test_the_paper_s_first_500_refiner_updates_have_nothing_to_do(self):
        """They minimise self-regularisation, and its gradient is 0 where the refiner starts."""
        subject, synthetic = simgan(), images(4, 0)
        (subject.refiner(synthetic) - synthetic).abs().mean().backward()
        assert not any(weight.grad.any() for weight in subject.refiner.parameters())

    def test_each_update_changes_the_weights_of_the_network_whose_turn_it_is(self):
        subject, turns = simgan(), ""
        for update in range(11):
            before = [weights(network) for network in (subject.refiner, subject.discriminator)]
            metrics = subject.step(images(4, update, high=0), images(4, 100 + update, low=0))
            after = [weights(network) for network in (subject.refiner, subject.discriminator)]
            refiner_changed, discriminator_changed = (
                not torch.equal(*pair) for pair in zip(before, after, strict=True)
            )
            assert refiner_changed != discriminator_changed
            assert ("refiner_loss" in metrics) == refiner_changed
            turns += "R" if refiner_changed else "D"
        assert turns == "DDD" + "RRD" * 2 + "RR"

    def test_metrics_are_detached_scalars(self):
        subject = simgan()
        for update in range(4):
            for value in subject.step(images(4, update), images(4, update)).values():
                assert value.shape == ()
                assert not value.requires_grad


class TestSimGAN:
    def test_moves_dark_images_towards_bright_ones(self):
        subject = simgan(regularisation=0.1, discriminator_warmup=30, buffer_size=20)
        train(subject, 120)
        synthetic = images(8, seed=50, high=0)
        assert subject.refine(synthetic).mean() > synthetic.mean() + 0.1

    @pytest.mark.parametrize("seed", range(18))
    @pytest.mark.parametrize("width", [4, 8])
    def test_whatever_the_initial_weights_images_stay_near_what_they_were(self, seed, width):
        """With Hardtanh, and a warm-up against an untrained discriminator, some sets turned white in a few updates."""
        torch.manual_seed(seed)
        subject = SimGAN(
            Refiner(1, width),
            Discriminator(1, width),
            learning_rate_refiner=0.01,
            learning_rate_discriminator=0.3,
            regularisation=2.0,
            discriminator_warmup=3,
            refiner_updates=2,
            buffer_size=20,
            fixed_images=images(3, seed=7),
        )
        train(subject, 20)
        synthetic = images(8, seed=50, high=0)
        refined = subject.refine(synthetic)
        assert (refined - synthetic).abs().mean() < 0.25
        assert refined.std(dim=0).mean() > synthetic.std(dim=0).mean() / 2

    def test_refining_does_not_depend_on_the_batch_and_draws_nothing_at_random(self):
        subject = simgan()
        train(subject, 8)
        generator = torch.get_rng_state()
        torch.testing.assert_close(subject.refine(images(5, 1), batch_size=2), subject.refine(images(5, 1)))
        assert torch.equal(torch.get_rng_state(), generator)

    def test_samples_are_the_fixed_images_refined(self):
        subject = simgan()
        train(subject, 2)
        assert torch.equal(subject.samples(), subject.refine(images(3, seed=7)))

    @pytest.mark.parametrize("interrupted_after", [1, 4, 9])
    def test_a_restored_simgan_continues_bit_for_bit(self, interrupted_after):
        subject = simgan()
        train(subject, interrupted_after)
        checkpoint, generator = io.BytesIO(), torch.get_rng_state()
        torch.save(subject.state_dict(), checkpoint)
        checkpoint.seek(0)
        train(subject, 8)
        restored = simgan()
        restored.load_state_dict(torch.load(checkpoint, weights_only=True))
        torch.set_rng_state(generator)
        train(restored, 8)
        assert torch.equal(restored.samples(), subject.samples())
        assert torch.equal(weights(restored.discriminator), weights(subject.discriminator))
        assert torch.equal(restored.buffer.images, subject.buffer.images)


def weights(network: nn.Module) -> Tensor:
    return torch.cat([weight.detach().flatten() for weight in network.parameters()])


def position(image: Tensor, among: Tensor) -> int:
    return next(place for place, each in enumerate(among) if torch.equal(each, image))
