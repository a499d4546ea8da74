import torch

from components.core.training import centre_crop, classic_copies, crop_and_flip, flip_and_shift


def test_without_shift_every_image_is_one_of_its_four_flips():
    torch.manual_seed(0)
    images = torch.rand(32, 1, 8, 8)
    changed = flip_and_shift(images, 0.0)
    kinds = []
    for image, result in zip(images, changed, strict=True):
        flips = [image, image.flip(-1), image.flip(-2), image.flip(-1, -2)]
        matches = [torch.allclose(result, flip, atol=1e-5) for flip in flips]
        kinds.append(matches.index(True))
    assert set(kinds) == {0, 1, 2, 3}


def test_shifts_stay_within_the_bound():
    torch.manual_seed(0)
    images = torch.zeros(64, 1, 100, 100)
    images[:, :, 50, 50] = 1.0
    copies = classic_copies(images, 0.02)[3 * 64 :]
    rows = torch.arange(100.0)
    centres = (copies.sum(dim=(1, 3)) * rows).sum(1) / copies.sum(dim=(1, 2, 3))
    assert (centres - 50).abs().max() <= 2.01
    assert (centres - 50).abs().max() > 1.0


def test_classic_copies_are_the_images_and_three_variants():
    images = torch.rand(5, 1, 8, 8)
    copies = classic_copies(images, 0.02)
    assert copies.shape == (20, 1, 8, 8)
    assert torch.equal(copies[:5], images)
    assert torch.equal(copies[5:10], images.flip(-1))
    assert torch.equal(copies[10:15], images.flip(-2))


def test_values_stay_in_range():
    images = torch.rand(16, 1, 8, 8) * 2 - 1
    assert flip_and_shift(images, 0.1).abs().max() <= 1.0 + 1e-6


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
