import numpy as np
import pytest
import torch
from torch import nn

from components.classification.concept import ConceptNetwork
from components.core.training import as_floats
from components.evaluation.digits.judging import ask, draw, recognised


class Ramp(nn.Module):
    """Draws a batch from black to white, whatever the noise is."""

    latent_dim = 3

    def forward(self, noise):
        return torch.linspace(-1, 1, len(noise)).view(-1, 1, 1, 1).expand(-1, 1, 2, 2)


@pytest.fixture
def network():
    torch.manual_seed(0)
    return ConceptNetwork(classes=4, in_channels=1, width=2).eval()


@pytest.fixture
def images():
    return np.random.default_rng(0).integers(0, 256, (7, 1, 28, 28), dtype=np.uint8)


def test_drawings_are_whole_levels():
    assert draw(Ramp(), 3, batch_size=3)[:, 0, 0, 0].tolist() == [0, 128, 255]


def test_drawings_come_in_batches_of_their_own():
    assert draw(Ramp(), 4, batch_size=2)[:, 0, 0, 0].tolist() == [0, 255, 0, 255]


def test_answers_are_the_networks_and_do_not_hang_on_the_batch(network, images):
    answers = ask(network, images, batch_size=3)
    with torch.no_grad():
        expected = network(as_floats(torch.from_numpy(images))).double().softmax(dim=1)
    np.testing.assert_allclose(answers.probabilities, expected, atol=1e-6)
    assert answers.features.shape == (7, 64)


def test_an_image_is_recognised_by_its_likeliest_concept(network, images):
    likeliest = ask(network, images, batch_size=7).probabilities.argmax(axis=1)
    for concept in range(4):
        assert recognised(network, images, concept, batch_size=2) == (likeliest == concept).mean()
