"""Colour images as grey ones: the one place that says what grey is."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor

LUMA = (0.299, 0.587, 0.114)
"""Shares of red, green and blue in the grey value: ITU-R BT.601. The paper does not say which grey it takes."""


def to_grey(images: "Tensor") -> "Tensor":
    """The luma of RGB images (N, 3, H, W) in [-1, 1], as grey images (N, 1, H, W) in [-1, 1]."""
    import torch  # not above: steps that compute nothing with it read images, too

    shares = torch.tensor(LUMA, dtype=images.dtype, device=images.device)
    return torch.einsum("nchw,c->nhw", images, shares).unsqueeze(1)
