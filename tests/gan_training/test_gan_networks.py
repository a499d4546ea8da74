"""The plain GAN's networks."""

import json

import torch
from torch import nn

from components.gan_training.networks.gan import Discriminator, Generator

CONFIG = {"latent_dim": 8, "channels": 1, "size": 28, "widths": [16, 24, 32], "leak": 0.2, "momentum": 0.8}


def test_generator_makes_images_in_range() -> None:
    images = Generator(**CONFIG)(torch.randn(3, 8))
    assert images.shape == (3, 1, 28, 28)
    assert images.abs().max() <= 1


def test_discriminator_gives_one_logit_an_image() -> None:
    assert Discriminator(1, 28, [16, 8], 0.2)(torch.randn(3, 1, 28, 28)).shape == (3,)


def test_generator_has_the_papers_layers() -> None:
    layers = [type(layer) for layer in Generator(**CONFIG).layers]
    group = [nn.Linear, nn.LeakyReLU, nn.BatchNorm1d]
    assert layers == [*group * 3, nn.Linear, nn.Tanh, nn.Unflatten]


def test_discriminator_has_the_papers_layers() -> None:
    layers = [type(layer) for layer in Discriminator(1, 28, [16, 8], 0.2).layers]
    assert layers == [nn.Flatten, nn.Linear, nn.LeakyReLU, nn.Linear, nn.LeakyReLU, nn.Linear]


def test_momentum_is_meant_as_in_keras() -> None:
    norms = [layer for layer in Generator(**CONFIG).layers if isinstance(layer, nn.BatchNorm1d)]
    assert {round(norm.momentum, 9) for norm in norms} == {0.2}


def test_a_generator_is_rebuilt_from_json() -> None:
    generator = Generator(**CONFIG).eval()
    copy = Generator(**json.loads(json.dumps(CONFIG))).eval()
    copy.load_state_dict(generator.state_dict())
    noise = torch.randn(3, 8)
    assert torch.equal(generator(noise), copy(noise))
