import pytest
import torch

from components.core.training import centre_crop, crop_and_flip, flip_and_shift, flip_turn_and_shift

FLIP_AND_SHIFT = [flip_and_shift, lambda images, shift: flip_turn_and_shift(images, 0.0, shift)]


@pytest.mark.parametrize("change", FLIP_AND_SHIFT)
def test_without_shift_every_image_is_one_of_its_four_flips(change):
    torch.manual_seed(0)
    images = torch.rand(32, 1, 8, 8)
    changed = change(images, 0.0)
    kinds = []
    for image, result in zip(images, changed, strict=True):
        flips = [image, image.flip(-1), image.flip(-2), image.flip(-1, -2)]
        matches = [torch.allclose(result, flip, atol=1e-5) for flip in flips]
        kinds.append(matches.index(True))
    assert set(kinds) == {0, 1, 2, 3}


def a_point(count, row, column):
    """Black images (N, 1, 101, 101) with one white pixel, counted from the middle."""
    images = -torch.ones(count, 1, 101, 101)
    images[:, :, 50 + row, 50 + column] = 1.0
    return images


def centres(images):
    """Centres of mass (N, 2), row and column from the middle."""
    mass = images + 1
    steps = torch.arange(101.0) - 50
    moments = torch.stack([(mass.sum(dim=(1, 3)) * steps).sum(1), (mass.sum(dim=(1, 2)) * steps).sum(1)], dim=1)
    return moments / mass.sum(dim=(1, 2, 3))[:, None]


@pytest.mark.parametrize("change", FLIP_AND_SHIFT)
def test_shifts_stay_within_the_bound(change):
    torch.manual_seed(0)
    moved = centres(change(a_point(64, 0, 0), 0.02)).abs()
    assert moved.max() <= 2.03
    assert moved.max() > 1.0


def test_turns_stay_within_the_bound_and_keep_distances():
    torch.manual_seed(0)
    rows, columns = centres(flip_turn_and_shift(a_point(200, 0, 30), 20.0, 0.0)).T
    angles = torch.atan2(rows.abs(), columns.abs()).rad2deg()
    assert 15 < angles.max() < 21
    assert torch.allclose(torch.hypot(rows, columns), torch.tensor(30.0), atol=0.6)


@pytest.mark.parametrize(
    "change", [lambda images: flip_and_shift(images, 0.1), lambda images: flip_turn_and_shift(images, 180.0, 0.1)]
)
def test_values_stay_in_range(change):
    images = torch.rand(16, 1, 8, 8) * 2 - 1
    assert change(images).abs().max() <= 1.0 + 1e-6


def positions(count, side):
    """Images whose two channels are the row and the column of every pixel."""
    rows = torch.arange(side).view(1, 1, side, 1).expand(count, 1, side, side)
    return torch.cat([rows, rows.mT], dim=1)


def test_crops_are_squares_of_the_image_or_of_its_mirror_image():
    torch.manual_seed(0)
    crops = crop_and_flip(positions(200, 6), 4)
    assert crops.shape == (200, 2, 4, 4)
    corners = set()
    for rows, columns in crops:
        top, left = rows[0, 0].item(), columns[0].min().item()
        mirrored = (columns[0, 0] > columns[0, 1]).item()
        expected = positions(1, 6)[0, :, top : top + 4, left : left + 4]
        assert torch.equal(torch.stack([rows, columns]), expected.flip(-1) if mirrored else expected)
        corners.add((top, left, mirrored))
    assert len(corners) == 3 * 3 * 2


def test_a_crop_as_large_as_the_image_is_the_image_or_its_mirror_image():
    images = torch.randint(0, 256, (20, 3, 5, 5), dtype=torch.uint8)
    crops = crop_and_flip(images, 5)
    assert crops.dtype == torch.uint8
    for image, crop in zip(images, crops, strict=True):
        assert torch.equal(crop, image) or torch.equal(crop, image.flip(-1))


def test_crops_come_from_the_global_generator():
    crops = []
    for _ in range(2):
        torch.manual_seed(3)
        crops.append(crop_and_flip(positions(8, 20), 4))
    assert torch.equal(*crops)


def test_the_centre_crop_is_the_middle():
    rows, columns = centre_crop(positions(1, 8), 4)[0]
    assert rows[:, 0].tolist() == [2, 3, 4, 5]
    assert columns[0].tolist() == [2, 3, 4, 5]
