import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from components.core.errors import UserError
from components.core.images import NO_FOLD, ImageSet


def make(count: int = 6, folds: int = 3) -> ImageSet:
    rng = np.random.default_rng(count)
    return ImageSet(
        images=rng.uniform(-1, 1, (count, 1, 4, 4)).astype(np.float32),
        labels=np.arange(count) % 2,
        classes=("healthy", "ill"),
        groups=np.array([f"p{index}" for index in range(count)]),
        folds=np.arange(count) % folds,
    )


def test_what_is_saved_is_loaded_again(tmp_path):
    before = make()
    before.save(tmp_path)
    after = ImageSet.load(tmp_path)
    assert np.array_equal(before.images, after.images)
    assert after.groups.tolist() == before.groups.tolist()
    assert after.folds.tolist() == before.folds.tolist()
    assert after.digest() == before.digest()


def test_loaded_images_stay_on_disk(tmp_path):
    make().save(tmp_path)
    assert isinstance(ImageSet.load(tmp_path).images, np.memmap)


def test_saving_twice_gives_the_same_bytes(tmp_path):
    make().save(tmp_path / "a")
    make().save(tmp_path / "b")
    for name in ("images.npy", "meta.json"):
        assert (tmp_path / "a" / name).read_bytes() == (tmp_path / "b" / name).read_bytes()


@given(count=st.integers(2, 30), folds=st.integers(2, 5))
def test_training_and_test_part_of_a_fold_share_nothing_and_lack_nothing(count, folds):
    images = make(count, folds)
    for fold in set(images.folds.tolist()):
        training, test = images.training(fold), images.test(fold)
        assert set(training.groups.tolist()).isdisjoint(test.groups.tolist())
        assert len(training) + len(test) == count


def test_a_digest_sees_every_pixel_and_every_label():
    images = make()
    pixels = images.images.copy()
    pixels[0, 0, 0, 0] += 1e-6
    changed_pixel = ImageSet(pixels, images.labels, images.classes, images.groups, images.folds)
    changed_label = ImageSet(images.images, 1 - images.labels, images.classes, images.groups, images.folds)
    assert len({images.digest(), changed_pixel.digest(), changed_label.digest()}) == 3


def test_generated_images_stand_in_no_fold():
    images = ImageSet.generated(np.zeros((2, 1, 4, 4), np.float32), 1, ("healthy", "ill"), origin="abc")
    assert images.folds.tolist() == [NO_FOLD, NO_FOLD]
    assert len(images.test(0)) == 0


def test_sets_of_different_origin_are_not_joined():
    a, b = (ImageSet.generated(np.zeros((1, 1, 4, 4), np.float32), 0, ("x",), origin) for origin in "ab")
    with pytest.raises(ValueError, match="origin"):
        ImageSet.concatenate([a, b])


def test_images_without_labels_are_refused():
    images = make()
    with pytest.raises(ValueError, match="do not fit"):
        ImageSet(images.images, images.labels[:-1], images.classes, images.groups, images.folds)


def test_a_fold_or_class_that_does_not_exist_is_refused():
    images = ImageSet(np.zeros((2, 1, 4, 4), np.uint8), np.array([0, 1]), ("a", "b"), np.full(2, ""), np.array([0, 1]))
    with pytest.raises(UserError, match=r"There is no fold 9; choose one of 0, 1\."):
        images.training(9)
    with pytest.raises(UserError, match=r"There is no class 'c'; choose one of a, b\."):
        images.of_class("c")
