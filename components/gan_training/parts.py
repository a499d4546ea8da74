"""What of a data set a GAN trains on, and for how long."""

import math
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from components.core.images import ImageSet


def training_length(most: int, epochs: float, images: int, batch_size: int) -> int:
    """How long to train: `most` updates, or so many passes over the images where that is less."""
    return min(most, math.ceil(epochs * images / batch_size))


def of_label(images: "ImageSet", label: str) -> "ImageSet":
    """The images of one class, or of all."""
    from components.core.errors import UserError
    from components.core.images import ALL

    filled = [name for name, count in images.counts().items() if count]
    if label not in (ALL, *filled):
        raise UserError(f"There are no images of class '{label}'; choose '{ALL}' or one of {', '.join(filled)}.")
    return images.of_class(label)
