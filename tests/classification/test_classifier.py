"""The classifier's training."""

import io

import pytest
import torch
from torch import Tensor

from components.classification.classifier import Classifier
from components.classification.resnet50 import ResNet50
from components.classification.xception import Xception


def toy_set(count: int = 32) -> tuple[Tensor, Tensor]:
    """Images of noise; those of class 1 carry a bright square."""
    labels = torch.arange(count) % 2
    images = torch.randn(count, 1, 32, 32, generator=torch.Generator().manual_seed(0)) * 0.3
    images[labels == 1, :, 8:20, 8:20] += 1
    return images.clamp(-1, 1), labels


def classifier(network: type = ResNet50) -> Classifier:
    torch.manual_seed(0)
    subject = network(classes=2, in_channels=1, width=0.125)
    return Classifier(subject, learning_rate=3e-3, weight_decay=1e-4, updates=60)


@pytest.mark.parametrize("network", [ResNet50, Xception])
def test_learns_a_toy_set(network):
    images, labels = toy_set(16)
    subject = classifier(network)
    losses = [subject.step(images, labels)["loss"] for _ in range(60)]
    assert losses[-1] < losses[0] / 2
    assert (subject.predict(images).argmax(dim=1) == labels).float().mean() > 0.9


def test_the_learning_rate_is_annealed_to_nothing():
    images, labels = toy_set(4)
    subject = classifier()
    rates = []
    for _ in range(60):
        rates.append(subject.optimiser.param_groups[0]["lr"])
        subject.step(images, labels)
    assert rates[0] == 3e-3
    assert rates[30] == pytest.approx(1.5e-3)
    assert subject.optimiser.param_groups[0]["lr"] == pytest.approx(0, abs=1e-12)


def test_accuracy_is_the_fraction_of_right_answers_before_the_update():
    images, labels = toy_set(8)
    subject = classifier()
    expected = (subject.network(images).argmax(dim=1) == labels).float().mean()
    assert classifier().step(images, labels)["accuracy"] == expected


def test_predicts_probabilities_that_depend_on_no_other_image():
    images, labels = toy_set()
    subject = classifier()
    subject.step(images, labels)
    together, apart = subject.predict(images), subject.predict(images, batch_size=5)
    torch.testing.assert_close(together, apart)
    torch.testing.assert_close(together.sum(dim=1), torch.ones(len(images)))


def test_prediction_changes_no_state():
    images, labels = toy_set()
    subject, twin = classifier(), classifier()
    subject.predict(images)
    assert torch.equal(subject.step(images, labels)["loss"], twin.step(images, labels)["loss"])
    assert torch.equal(subject.predict(images), twin.predict(images))


def test_a_restored_classifier_continues_bit_for_bit():
    images, labels = toy_set()
    subject = classifier()
    for _ in range(3):
        subject.step(images, labels)
    checkpoint = io.BytesIO()
    torch.save(subject.state_dict(), checkpoint)
    checkpoint.seek(0)
    restored = classifier()
    restored.load_state_dict(torch.load(checkpoint, weights_only=True))
    for each in (subject, restored):
        each.step(images, labels)
    assert torch.equal(subject.predict(images), restored.predict(images))
