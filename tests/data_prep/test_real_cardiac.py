from pathlib import Path

import numpy as np
import pytest

from components.core.images import ImageSet
from components.data_prep.step import prepare
from pipelines.pipeline import find

CARDIAC = Path(__file__).parents[2].parent / "shared" / "data" / "cardiac"


@pytest.mark.skipif(not CARDIAC.exists(), reason="the real cardiac slices are not on this machine")
def test_the_real_slices_are_prepared_whole(tmp_path):
    prepare(find("cardiac").load().prepare, raw=CARDIAC, out=tmp_path / "images")
    images = ImageSet.load(tmp_path / "images")
    assert images.images.shape == (300, 1, 80, 80)
    assert np.isfinite(images.images).all()
    assert len(set(images.groups)) == 100
    assert np.bincount(images.labels).tolist() == [60, 240]
    for fold in range(4):
        assert np.bincount(images.test(fold).labels).tolist() == [15, 60]
