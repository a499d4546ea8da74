import pytest
import torch

from components.core.errors import UserError
from components.evaluation.digits.shipping import shipment

SCORES = {
    "gan": {"complex": {"mean": 4.5}, "simple": {"mean": 9.0}},
    "dcgan": {"complex": {"mean": 6.1}, "simple": {"mean": 2.0}},
}


@pytest.fixture
def handwriting(make_handwriting, tmp_path):
    return make_handwriting(tmp_path)


def test_the_generator_of_all_digits_is_shipped_with_its_score(handwriting):
    shipped = shipment(handwriting.folders, "dcgan", SCORES)
    assert (shipped.name, shipped.value) == ("digit-generator", 6.1)
    origin = handwriting.real.training(0).digest()
    assert shipped.tags == {"network": "dcgan", "label": "all", "replicate": "0", "origin": origin}


def test_of_several_replicates_the_first_is_shipped(make_handwriting, tmp_path):
    folders = make_handwriting(tmp_path, replicates=(2, 1, 10)).folders
    shipped = shipment(folders, "dcgan", SCORES)
    assert (shipped.tags["replicate"], shipped.value) == ("1", 6.1)


@pytest.mark.parametrize("network", ["gan", "dcgan"])
def test_noise_goes_in_and_images_come_out(handwriting, network):
    shipped = shipment(handwriting.folders, network, SCORES)
    with torch.no_grad():
        images = shipped.network(shipped.example)
    assert images.shape == (2, 1, 28, 28)
    assert images.abs().max() <= 1


def test_a_network_that_was_not_trained_on_all_digits_is_refused(handwriting):
    with pytest.raises(UserError, match="no training of gan on all"):
        shipment(handwriting.folders[1:], "gan", SCORES)
