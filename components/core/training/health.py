"""Vital signs of an adversarial training: of what it makes, of its discriminator, of its gradients.

One crisp heart, drawn again and again, passes any sharpness; a blur passes any diversity: it takes both. An algorithm
says only what it made (`Look`) and which are its optimisers; the loop does the rest.
"""

import math
from collections import deque
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from statistics import fmean
from typing import Any, Protocol

import torch
from torch import Tensor
from torch.nn.utils import get_total_norm
from torch.optim import Optimizer

DIVERSITY, SHARPNESS, LEVEL, SATURATION = "diversity_ratio", "sharpness_ratio", "level_shift", "saturation_excess"
DISTANCE, MARGIN = "distance", "discriminator_margin"
GENERATOR_GRADIENT, DISCRIMINATOR_GRADIENT = "generator_gradient", "discriminator_gradient"
"""Names of the metrics that are watched; `vital_signs` says what they are."""

LOOK_STEPS = 10
"""Steps between two looks: what they cost is lost beside the training."""

LOOK_IMAGES = 8
"""Images that a look needs at least: those of smaller batches are put together."""

WINDOW = 20
"""Looks over which a sign is averaged before it is believed: one bad batch is none."""

START = 0.5
"""Share of a training in which images may still be what an untrained generator draws: grey, and all alike."""

SATURATED = 0.99
"""A value this far from 0, in [-1, 1], has all but reached the end of the range."""


@dataclass(frozen=True)
class Look:
    """What an adversarial training made in one step; detached.

    Attributes:
        real, fake: images (N, C, H, W) in [-1, 1].
        real_logits, fake_logits: the discriminator's, of any shape; the probability of "real" is their sigmoid. None
            in a step in which it saw one of the two only.
        given: images (N, c, H, W) that `fake` was made from, where it was made from images.
    """

    real: Tensor
    fake: Tensor
    real_logits: Tensor | None = None
    fake_logits: Tensor | None = None
    given: Tensor | None = None


class Adversary(Protocol):
    """What a training of a generator against a discriminator shows beside an `Algorithm`.

    Attributes:
        look: what the last step made; None where it made nothing to judge, as while a network warms up.
        optimisers: "generator" and "discriminator": of the weights that are watched.
    """

    look: Look | None
    optimisers: Mapping[str, Optimizer]


def vital_signs(looks: Sequence[Look]) -> dict[str, Tensor]:
    """The metrics by which a training's health is judged, of the images of several looks together; detached scalars.

    - `diversity_ratio`: standard deviation over the images, averaged over the pixels, as a share of the real images':
      near 1 for a good generator, 0 for one that draws a single image.
    - `sharpness_ratio`: gradient energy, the mean squared difference of neighbouring pixels, as a share of theirs.
    - `level_shift`: distance of the mean values.
    - `saturation_excess`: share of values at the ends of the range, less the real images'.
    - `distance`: mean distance from what the images were made from, if they were; of a grey image in colour, the
      distance of its channels' mean.
    - `discriminator_margin`: mean probability of "real" that the discriminator gives real images less that it gives
      generated ones: 0 where it cannot tell them apart, 1 where it is sure of every image.

    Images made from others of their kind are as diverse and sharp as those, not as the real ones: they are compared
    with them there.
    """
    with torch.no_grad():
        real, fake = (torch.cat([getattr(look, name) for look in looks]) for name in ("real", "fake"))
        given = None if looks[0].given is None else torch.cat([look.given for look in looks])
        model = given if given is not None and given.shape == fake.shape else real
        signs = {
            DIVERSITY: _ratio(_spread(fake), _spread(model)),
            SHARPNESS: _ratio(_energy(fake), _energy(model)),
            LEVEL: (fake.mean() - real.mean()).abs(),
            SATURATION: _saturated(fake) - _saturated(real),
        }
        if given is not None:
            alike = fake if given.shape == fake.shape else fake.mean(dim=1, keepdim=True)
            signs[DISTANCE] = (alike - given).abs().mean()
        margins = [_margin(look) for look in looks if look.real_logits is not None]
        if margins:
            signs[MARGIN] = torch.stack(margins).mean()
    return signs


class Watch:
    """Takes an adversary's vital signs every `LOOK_STEPS` steps; a context, in which it listens to the optimisers.

    Args:
        adversary: None where there is nobody to watch over.
        batch_size: images a step.
    """

    def __init__(self, adversary: Adversary | None, batch_size: int) -> None:
        self._adversary = adversary
        self._needed = min(-(-LOOK_IMAGES // batch_size), LOOK_STEPS)
        self._looks: list[Look] = []
        self._norms: dict[str, Tensor] = {}
        self._step = 0
        self._hooks = ExitStack()

    def __enter__(self) -> "Watch":
        for name, optimiser in self._adversary.optimisers.items() if self._adversary else ():
            hook = optimiser.register_step_pre_hook(partial(self._listen, f"{name}_gradient"))
            self._hooks.callback(hook.remove)
        return self

    def __exit__(self, *_: object) -> None:
        self._hooks.close()

    def begin(self, step: int) -> None:
        """Before step number `step`, counted from 1."""
        self._step = step
        self._norms = {}

    def signs(self) -> dict[str, Tensor]:
        """After it: the vital signs, in the first step and in every `LOOK_STEPS`-th from there."""
        missing = (1 - self._step) % LOOK_STEPS
        if missing < self._needed and self._adversary and self._adversary.look:
            self._looks.append(self._adversary.look)
        if missing or not self._looks:
            return {}
        looks, self._looks = self._looks, []
        return vital_signs(looks) | self._norms

    def state_dict(self) -> list[dict[str, Tensor | None]]:
        """What was looked at and not yet judged: a resumed training judges it as well."""
        return [vars(look) for look in self._looks]

    def load_state_dict(self, state: list[dict[str, Tensor | None]]) -> None:
        self._looks = [Look(**look) for look in state]

    def _listen(self, name: str, optimiser: Optimizer, *_: Any) -> None:
        if (self._step - 1) % LOOK_STEPS == 0:
            gradients = [w.grad for group in optimiser.param_groups for w in group["params"] if w.grad is not None]
            self._norms[name] = get_total_norm(gradients).detach()


@dataclass(frozen=True)
class Sign:
    """A metric, the values that it has in trainings that fail, and what is wrong then.

    Attributes:
        words: may show the metric's mean.
        least, greatest: what a training that does not fail stays within.
    """

    words: str
    least: float = -math.inf
    greatest: float = math.inf


SIGNS = {
    DIVERSITY: Sign("the generator has lost its diversity ({:.0%} of what is expected)", least=0.25),
    SHARPNESS: Sign("the images have lost their sharpness ({:.0%} of what is expected)", least=0.1),
    LEVEL: Sign("the images' brightness is off ({:.2f} of a range of 2 from the real images')", greatest=1.0),
    SATURATION: Sign("the images are saturated ({:.0%} more of them than of the real ones)", greatest=0.5),
    DISTANCE: Sign("the images have left what they were made from ({:.2f} of a range of 2)", greatest=0.5),
    MARGIN: Sign("the discriminator wins outright (the generator can learn nothing from it)", greatest=0.98),
    GENERATOR_GRADIENT: Sign("nothing reaches the generator any more (its gradient is 0)", least=1e-12),
}


class Health:
    """Looks at a training's metrics step by step.

    Args:
        steps: length of the training. What was never well is given `START` of it to become so; what was, is watched at
            once.
    """

    def __init__(self, steps: int = 0) -> None:
        self._start = START * steps
        self._recent = {sign: deque(maxlen=WINDOW) for sign in SIGNS}
        self._once_well: set[str] = set()

    def diagnose(self, metrics: Mapping[str, float]) -> str:
        """What is wrong after one more step, over the last `WINDOW` looks; "" while nothing is."""
        for sign in SIGNS.keys() & metrics.keys():
            self._recent[sign].append(metrics[sign])
        means = {sign: fmean(values) for sign, values in self._recent.items() if len(values) == WINDOW}
        for sign, mean in means.items():
            # What is made from other images is held to them, and so learns even where the discriminator wins.
            if sign == MARGIN and DISTANCE in means:
                continue
            if SIGNS[sign].least <= mean <= SIGNS[sign].greatest:
                self._once_well.add(sign)
            elif sign in self._once_well or metrics.get("step", math.inf) > self._start:
                return SIGNS[sign].words.format(mean)
        return ""


def _ratio(value: Tensor, model: Tensor) -> Tensor:
    return value / model.clamp_min(1e-6)


def _spread(images: Tensor) -> Tensor:
    return images.std(dim=0, correction=0).mean()


def _energy(images: Tensor) -> Tensor:
    return sum(images.diff(dim=axis).square().mean() for axis in (2, 3))


def _saturated(images: Tensor) -> Tensor:
    return (images.abs() > SATURATED).float().mean()


def _margin(look: Look) -> Tensor:
    return look.real_logits.sigmoid().mean() - look.fake_logits.sigmoid().mean()
