"""What the E-GAN's discriminator sees of images."""

import torch

from components.gan_training.augmentation import perturb

STILL = {"translation": 0.0, "brightness": 0.0, "contrast": 0.0}


def test_nothing_allowed_changes_nothing() -> None:
    images = torch.rand(4, 3, 8, 8)
    torch.testing.assert_close(perturb(images, **STILL), images)


def test_images_are_shifted_one_by_one_by_whole_pixels_within_bounds() -> None:
    torch.manual_seed(0)
    images = torch.zeros(64, 1, 20, 20)
    images[:, :, 10, 10] = 1
    found = perturb(images, **{**STILL, "translation": 0.1}).squeeze(1).nonzero()
    assert len(found) == 64  # one pixel each, as bright as before
    assert set(found[:, 1].tolist()) == set(found[:, 2].tolist()) == {8, 9, 10, 11, 12}


def test_levels_and_contrasts_change_one_by_one_within_bounds() -> None:
    torch.manual_seed(0)
    images = torch.rand(256, 1, 8, 8)
    changed = perturb(images, translation=0.0, brightness=0.3, contrast=0.2)
    levels = (changed.mean((1, 2, 3)) - images.mean((1, 2, 3))) / 0.3
    contrasts = (changed.std((1, 2, 3)) / images.std((1, 2, 3)) - 1) / 0.2
    for change in (levels, contrasts):
        assert change.abs().max() <= 1 + 1e-4
        assert change.min() < -0.9 and change.max() > 0.9


def test_gradients_come_back_to_where_the_image_was() -> None:
    torch.manual_seed(0)
    images = torch.zeros(1, 1, 8, 8, requires_grad=True)
    changed = perturb(images, **{**STILL, "translation": 0.25})
    (gradient,) = torch.autograd.grad(changed.sum(), images)
    assert set(gradient.unique().tolist()) <= {0.0, 1.0}  # what was shifted out of the picture gets none
    assert gradient.sum() >= 36
