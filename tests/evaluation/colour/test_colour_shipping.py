import pytest
import torch

from components.core.errors import UserError
from components.evaluation.colour.shipping import shipment

METRICS = {"datasets": {"photographs": {"psnr": {"sa": {"mean": 21.5}}}}}


@pytest.fixture
def album(make_album, tmp_path):
    return make_album(tmp_path, replicates=(1, 0))


def test_the_first_replicate_is_shipped_with_its_variants_score(album):
    shipped = shipment(album.folders, "sa", METRICS)
    assert (shipped.name, shipped.value) == ("colour-renderer", 21.5)
    assert shipped.tags == {
        "variant": "sa",
        "dataset": "photographs",
        "replicate": "0",
        "origin": album.data.training(0).digest(),
    }


def test_grey_goes_in_and_colours_come_out(album):
    shipped = shipment(album.folders, "sa", METRICS)
    with torch.no_grad():
        colours = shipped.network(shipped.example)
    assert shipped.example.shape == (2, 1, 16, 16)
    assert colours.shape == (2, 3, 16, 16)
    assert colours.abs().max() <= 1


def test_a_variant_that_was_not_trained_is_refused(album):
    with pytest.raises(UserError, match="no training of sa on photographs"):
        shipment([each for each in album.folders if not each.name.startswith("sa-")], "sa", METRICS)
