"""How learning rates fall."""


def share_left(done: int, steps: int) -> float:
    """What is left of a rate after `done` of `steps` steps: all over the first half, then linearly less, at last 0.

    This is pix2pix's schedule (Isola et al. 2017); it lets the images settle, which at constant rates swing to the end.
    """
    return min(1.0, 2 * (1 - done / steps))
