"""Channel counts scaled for small machines."""

from components.core.errors import UserError

GRAIN = 8  # channel counts stay multiples of the vector length, which convolutions on a CPU are fastest at


def scaled(channels: int, width: float) -> int:
    """`channels` × `width`, rounded to the nearest multiple of 8, at least 8.

    Every count in ResNet-50 and Xception is such a multiple, so width 1 leaves them exact.
    Raises UserError where `width` is not positive.
    """
    if width <= 0:
        raise UserError(f"width must be above 0, got {width}")
    return max(GRAIN, round(channels * width / GRAIN) * GRAIN)
