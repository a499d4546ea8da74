"""The resumable training loop that all GANs and classifiers share."""

from components.core.training.augment import (
    as_floats,
    centre_crop,
    crop_and_flip,
    flip_and_shift,
    flip_turn_and_shift,
)
from components.core.training.health import (
    DISTANCE,
    DIVERSITY,
    GENERATOR_GRADIENT,
    LEVEL,
    LOOK_STEPS,
    MARGIN,
    SATURATION,
    SHARPNESS,
    WINDOW,
    Adversary,
    Health,
    Look,
    vital_signs,
)
from components.core.training.history import History
from components.core.training.judge import Judge, train_judge
from components.core.training.loop import (
    PREEMPTED,
    RESTARTS,
    Algorithm,
    Batches,
    device,
    restarting,
    seed_draws,
    through,
    train,
)
