import numpy as np
import pytest
import SimpleITK as sitk

from components.core.contract import check
from components.core.errors import UserError
from components.core.images import EXTERNAL, RESERVE
from components.core.storage import digest_path
from components.data_prep.step import PrepareParams

FIRST = {"image": "first.mha", "mask": "first_mask.mha"}


def first_image(folder, **changes):
    return folder.prepare(**changes).images[0, 0]


def width_of_disc(image):
    return (image[len(image) // 2] > 0).sum()


def test_images_labels_groups_and_folds_are_filled(folder):
    images = folder.prepare()
    assert images.images.shape == (8, 1, 40, 40)
    assert images.images.dtype == np.float32
    assert images.classes == ("non-patient", "patient")
    assert images.labels.tolist() == [1] * 4 + [0] * 4
    assert images.groups.tolist() == ["p0", "p0", "p1", "p1", "p2", "p2", "p3", "p3"]
    assert images.origin == ""
    for fold in (0, 1):
        assert sorted(images.test(fold).labels) == [0, 0, 1, 1]


def test_people_marked_as_test_are_external_and_deal_the_folds_as_without_them(folder):
    expected = folder.prepare()
    for number, label in ((4, "patient"), (5, "non-patient"), (6, "patient")):
        folder.add(f"p{number}", f"p{number}", label)
    folder.mark(p4="test", p5="test", p6="reserve", p0="train")
    images = folder.prepare()
    assert images.test(EXTERNAL).groups.tolist() == ["p4", "p5"]
    assert images.test(RESERVE).groups.tolist() == ["p6"]
    for fold in (0, 1):
        assert images.training(fold).digest() == expected.training(fold).digest()
        assert images.test(fold).digest() == expected.test(fold).digest()


def test_every_image_reaches_from_minus_one_to_one(folder):
    images = folder.prepare().images
    assert (images.min(axis=(1, 2, 3)) == -1).all()
    assert (images.max(axis=(1, 2, 3)) == 1).all()


def test_percentiles_decide_what_is_clipped(folder):
    clipped = first_image(folder, low_percentile=30.0)
    assert np.mean(clipped == -1) == pytest.approx(0.3, abs=0.01)


@pytest.mark.parametrize("suffix", [".mha", ".mhd", ".nii", ".nii.gz", ".dcm"])
def test_every_format_gives_the_same_image(folder, suffix):
    image, mask = folder.picture()
    folder.only(FIRST)
    for name, pixels in [("first.mha", image), ("first_mask.mha", mask)]:
        folder.write(name, pixels[np.newaxis], (1.5, 1.5, 8))
    expected = first_image(folder).copy()
    folder.only({"image": f"other{suffix}", "mask": "first_mask.mha"})
    folder.write(f"other{suffix}", image[np.newaxis], (1.5, 1.5, 8))
    np.testing.assert_array_equal(first_image(folder), expected)


def test_a_plane_and_a_volume_of_one_slice_are_the_same(folder):
    image, mask = folder.picture()
    folder.only(FIRST)
    folder.write("first.mha", image)
    folder.write("first_mask.mha", mask)
    plane = first_image(folder).copy()
    folder.write("first.mha", image[np.newaxis], (1.5, 1.5, 8))
    folder.write("first_mask.mha", mask[np.newaxis], (1.5, 1.5, 8))
    np.testing.assert_array_equal(first_image(folder), plane)


def test_a_volume_gives_one_image_for_every_marked_slice(folder):
    image, mask = folder.picture()
    folder.only(FIRST)
    folder.write("first.mha", np.stack([image, image + 1, image * 2, image]), (1.5, 1.5, 8))
    folder.write("first_mask.mha", np.stack([mask * 0, mask, mask, mask * 0]), (1.5, 1.5, 8))
    images = folder.prepare()
    assert images.groups.tolist()[:3] == ["p0", "p0", "p1"]
    assert len(images) == 8


def test_a_volume_without_a_mask_gives_one_image_for_every_slice(folder):
    folder.only({"image": "first.mha"})
    folder.write("first.mha", np.stack([folder.picture()[0]] * 3), (1.5, 1.5, 8))
    assert folder.prepare().groups.tolist()[:4] == ["p0", "p0", "p0", "p1"]


def test_slices_that_are_not_marked_may_hold_anything(folder):
    image, mask = folder.picture()
    folder.only(FIRST)
    folder.write(
        "first.mha", np.stack([image.astype(np.float32), np.full(image.shape, np.nan, np.float32)]), (1.5,) * 3
    )
    folder.write("first_mask.mha", np.stack([mask, mask * 0]), (1.5,) * 3)
    assert len(folder.prepare()) == 7


def test_the_window_is_centred_on_the_bounding_box_of_the_mask(folder):
    image = np.zeros((100, 100), np.uint16)
    image[20:31, 60:71] = 100
    folder.only(FIRST)
    folder.write("first.mha", image)
    folder.write("first_mask.mha", (image > 0).astype(np.uint8))
    bright = np.argwhere(first_image(folder, size=41) > 0)
    assert bright.min(axis=0).tolist() == [15, 15]
    assert bright.max(axis=0).tolist() == [25, 25]


def test_without_a_mask_the_window_is_the_middle_of_the_image(folder):
    image = np.zeros((101, 101), np.uint16)
    image[48:53, 48:53] = 100
    folder.columns.remove("mask")
    folder.only({"image": "first.mha"})
    folder.write("first.mha", image)
    bright = np.argwhere(first_image(folder, size=41, high_percentile=100.0) > 0)
    assert bright.mean(axis=0).tolist() == [20, 20]


@pytest.mark.parametrize("spacing", [0.75, 1.5, 2.2])
def test_physical_scale_is_kept(folder, spacing):
    image, mask = folder.picture((200, 200), spacing)
    folder.only(FIRST)
    folder.write("first.mha", image, (spacing, spacing))
    folder.write("first_mask.mha", mask, (spacing, spacing))
    assert width_of_disc(first_image(folder)) == pytest.approx(24 / 1.5, abs=1.5)


def test_unequal_spacing_becomes_equal(folder):
    rows, columns = np.indices((80, 160))
    disc = np.hypot((rows - 40) * 2.0, columns - 80) < 20
    folder.only(FIRST)
    folder.write("first.mha", (disc * 100).astype(np.uint16), (1.0, 2.0))
    folder.write("first_mask.mha", disc.astype(np.uint8), (1.0, 2.0))
    bright = np.argwhere(first_image(folder) > 0)
    height, width = np.ptp(bright, axis=0) + 1
    assert abs(height - width) <= 1


def test_outside_of_the_image_lies_its_minimum(folder):
    image = np.full((20, 20), 50, np.uint16)
    image[:10] = 100
    image[0, 0] = 40
    folder.only({"image": "first.mha"})
    folder.write("first.mha", image)
    prepared = first_image(folder, size=40, low_percentile=0.0)
    assert (prepared[:9] == -1).all()
    assert (prepared[:, -9:] == -1).all()
    assert prepared[25, 20] > -1


@pytest.mark.parametrize(
    ("turned", "direction"),
    [
        (lambda image: image[:, ::-1], (-1, 0, 0, 0, 1, 0, 0, 0, 1)),
        (lambda image: image[::-1], (1, 0, 0, 0, -1, 0, 0, 0, 1)),
        (lambda image: image.T, (0, 1, 0, 1, 0, 0, 0, 0, 1)),
    ],
    ids=["columns to the right", "rows to the front", "axes swapped"],
)
def test_a_stored_orientation_is_undone(folder, turned, direction):
    image, mask = folder.picture()
    folder.only(FIRST)
    folder.write("first.mha", image)
    folder.write("first_mask.mha", mask)
    expected = first_image(folder).copy()
    for name, pixels in [("first.mha", image), ("first_mask.mha", mask)]:
        folder.write(name, np.ascontiguousarray(turned(pixels))[np.newaxis], (1.5, 1.5, 8), direction)
    np.testing.assert_allclose(first_image(folder), expected, atol=1e-5)


def test_a_mask_that_tells_no_place_lies_pixel_by_pixel_on_its_image(folder):
    image, mask = folder.picture()
    folder.only(FIRST)
    folder.write(
        "first.mha", np.ascontiguousarray(image[::-1])[np.newaxis], (1.4, 1.4, 8), (1, 0, 0, 0, -1, 0, 0, 0, 1)
    )
    folder.write("first_mask.mha", np.ascontiguousarray(mask[::-1]), (1, 1))
    expected = first_image(folder, size=20).copy()
    folder.write("first.mha", image, (1.4, 1.4))
    folder.write("first_mask.mha", mask, (1.4, 1.4))
    np.testing.assert_allclose(first_image(folder, size=20), expected, atol=1e-5)


def test_a_mask_stored_in_another_orientation_is_turned_to_its_image(folder):
    image, mask = folder.picture()
    mask[:10] = 1
    folder.only(FIRST)
    folder.write("first.mha", image)
    folder.write("first_mask.mha", mask)
    expected = first_image(folder).copy()
    turned = sitk.Flip(sitk.JoinSeries(sitk.ReadImage(folder.raw / "first_mask.mha")), (False, True, False))
    sitk.WriteImage(turned, folder.raw / "first_mask.mha")
    np.testing.assert_array_equal(first_image(folder), expected)


def test_an_oblique_plane_keeps_its_scale(folder):
    image, mask = folder.picture()
    tilt = np.sqrt(0.5)
    folder.only(FIRST)
    folder.write("first.mha", image)
    folder.write("first_mask.mha", mask)
    expected = first_image(folder).copy()
    for name, pixels in [("first.mha", image), ("first_mask.mha", mask)]:
        folder.write(name, pixels[np.newaxis], (1.5, 1.5, 8), (tilt, 0, tilt, 0, 1, 0, -tilt, 0, tilt))
    np.testing.assert_array_equal(first_image(folder), expected)


def test_the_number_of_itk_threads_changes_no_byte(folder):
    before = sitk.ProcessObject.GetGlobalDefaultNumberOfThreads()
    digests = set()
    for threads in (1, 2, 5):
        sitk.ProcessObject.SetGlobalDefaultNumberOfThreads(threads)
        folder.prepare()
        digests.add(digest_path(folder.root / "out"))
    sitk.ProcessObject.SetGlobalDefaultNumberOfThreads(before)
    assert len(digests) == 1


def test_a_table_saved_by_excel_is_read(folder):
    folder.save_labels()
    table = folder.raw / "labels.csv"
    table.write_bytes(b"\xef\xbb\xbf" + table.read_bytes())
    assert len(folder.prepare_as_it_is()) == 8


def test_a_third_class_is_welcome(folder):
    for number in (4, 5):
        folder.add(f"p{number}", f"p{number}", "athlete")
    images = folder.prepare(classes=["athlete", "non-patient", "patient"])
    assert images.labels.tolist() == [2] * 4 + [1] * 4 + [0] * 2


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"spacing": 0}, "prepare.spacing: must be > 0"),
        ({"low_percentile": 60}, "prepare.low_percentile: must be < 50"),
        ({"folds": [0, 0]}, "prepare.folds: must not name one twice, got [0, 0]"),
        ({"classes": ["a", "a"]}, 'prepare.classes: must not name one twice, got ["a", "a"]'),
        ({"folds": [-1, 0]}, "prepare.folds.0: must be ≥ 0, got -1"),
    ],
)
def test_a_bad_parameter_is_named(change, told):
    good = {
        "spacing": 1.5,
        "size": 80,
        "low_percentile": 1,
        "high_percentile": 99,
        "classes": ["a", "b"],
        "folds": [0, 1],
        "seed": 0,
    }
    with pytest.raises(UserError) as error:
        check(good | change, PrepareParams, "prepare")
    assert str(error.value).startswith(told)
