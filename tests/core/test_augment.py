import torch

from components.core.augment import classic_copies, flip_and_shift


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
