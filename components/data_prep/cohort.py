"""A simulated cohort: short-axis phantoms of healthy and diseased hearts, written as real image files."""

import csv
import itertools
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import SimpleITK as sitk

from components.data_prep.labels import LABELS, Split

RIGHT_VENTRICLE, MYOCARDIUM, LEFT_VENTRICLE = 1, 2, 3  # mask values, as in ACDC
DISEASES = ("DCM", "HCM", "MINF", "RV")
HEALTHY = "NOR"
NAMES: dict[Split, str] = {"train": "patient", "test": "external", "reserve": "reserve"}
"""What people are called, by split, in front of their numbers."""
SLICE_THICKNESS = 10.0  # mm
BRIGHTNESS = 400.0  # of blood, in stored units

# Brightness relative to blood in balanced steady-state cine MR.
MUSCLE, FAT, LUNG, LIVER, CHEST = 0.2, 0.95, 0.04, 0.3, 0.5


@dataclass(frozen=True)
class Heart:
    """The anatomy of one patient at end-diastole; lengths in mm, angles in radians (0 = image right, clockwise).

    Attributes:
        cavity: radius of the left ventricle at its base.
        wall: thickness of the myocardium.
        septal_excess: what the septum is thicker by, as a fraction.
        right: reach of the right ventricle beyond the septum.
        scar_angle: middle of an infarcted segment.
        scar_width: half its opening; 0 = none.
        scar_thinning: fraction of the wall that the infarct took.
        turn: rotation of the heart in the chest.
        fat: thickness of the fat around the heart.
    """

    cavity: float
    wall: float
    septal_excess: float
    right: float
    scar_angle: float
    scar_width: float
    scar_thinning: float
    turn: float
    fat: float


def write_cohort(
    out: Path,
    *,
    patients: int,
    non_patients: int,
    slices: int,
    size: int,
    spacing: float,
    spacing_jitter: float,
    noise: float,
    external: Mapping[str, int],
    reserve: int,
    seed: int,
) -> None:
    """Write `labels.csv`, `images/*.mha` (uint16) and `masks/*.mha` (uint8), the same bytes for the same arguments.

    Args:
        out: an existing folder.
        patients: people with a disease; the diseases take turns.
        non_patients: healthy people.
        slices: images per person, from base to apex.
        size: pixels along each side of an image.
        spacing: mean distance of pixels in mm.
        spacing_jitter: largest deviation of one person's spacing from it, as a fraction.
        noise: σ of the Rician noise, as a fraction of the brightness of blood.
        external: further `patients` and `non_patients`, marked as test people.
        reserve: so many further people per person of `patients` and `non_patients`, whom only a control is trained on.
        seed: each person's randomness hangs on it, on the person's split and number alone.
    """
    for folder in ("images", "masks"):
        (out / folder).mkdir()
    rows = []
    cohort = {"patients": patients, "non_patients": non_patients}
    further = {name: reserve * count for name, count in cohort.items()}
    splits = {"train": cohort, "test": external, "reserve": further}
    for kind, (split, counts) in enumerate(splits.items()):
        for number, group in enumerate(_groups(**counts), start=1):
            rng = np.random.default_rng([seed, number, kind])
            heart = draw_heart(group, rng)
            step = spacing * (1 + rng.uniform(-spacing_jitter, spacing_jitter))
            person, label = f"{NAMES[split]}{number:03d}", "non-patient" if group == HEALTHY else "patient"
            for index, depth in enumerate(np.linspace(0, 1, slices), start=1):
                image, mask = draw_slice(heart, depth, size, step, noise, rng)
                name = f"{person}_slice{index:02d}.mha"
                _write(out / "images" / name, image, step)
                _write(out / "masks" / name, mask, step)
                rows.append((f"images/{name}", f"masks/{name}", person, group, label, split))
    with (out / LABELS).open("w", newline="") as stream:
        writer = csv.writer(stream, lineterminator="\n")
        writer.writerow(("image", "mask", "patient", "group", "label", "split"))
        writer.writerows(rows)


def _groups(patients: int, non_patients: int) -> Iterator[str]:
    """The group of every person: first those with a disease."""
    yield from itertools.islice(itertools.cycle(DISEASES), patients)
    yield from itertools.repeat(HEALTHY, non_patients)


def draw_heart(group: str, rng: np.random.Generator) -> Heart:
    """A heart of a disease group; groups overlap, as the mild cases of real ones do."""
    heart = Heart(
        cavity=rng.normal(25, 2),
        wall=rng.normal(8.5, 0.9),
        septal_excess=rng.normal(0.05, 0.08),
        right=rng.normal(27, 3.5),
        scar_angle=0.0,
        scar_width=0.0,
        scar_thinning=0.0,
        turn=rng.normal(0, 0.3),
        fat=rng.uniform(1, 7),
    )
    severity = rng.beta(3, 1.5)
    match group:
        case "DCM":
            return replace(heart, cavity=heart.cavity + 14 * severity, wall=heart.wall - severity)
        case "HCM":
            thicker = replace(heart, wall=heart.wall + 9 * severity, cavity=heart.cavity - 6 * severity)
            return replace(thicker, septal_excess=heart.septal_excess + 0.4 * severity)
        case "MINF":
            scarred = replace(heart, cavity=heart.cavity + 7 * severity, scar_thinning=0.8 * severity)
            return replace(scarred, scar_angle=rng.uniform(-np.pi, np.pi), scar_width=rng.uniform(0.6, 1.2))
        case "RV":
            return replace(heart, right=heart.right + 20 * severity)
        case _:
            return heart


def draw_slice(
    heart: Heart, depth: float, size: int, spacing: float, noise: float, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """One slice of a heart and its chest.

    Args:
        heart: whose.
        depth: 0 (base) … 1 (apex) within the middle third that is imaged.
        size: pixels along each side.
        spacing: mm between pixels.
        noise: σ of the Rician noise, as a fraction of the brightness of blood.
        rng: draws texture, position, shading and noise.

    Returns:
        (size, size) uint16 brightness and (size, size) uint8 mask.
    """
    canvas = _Canvas(size, spacing, rng)
    canvas.chest(heart)
    mask = canvas.heart(heart, depth)
    return canvas.acquire(noise), mask


class _Canvas:
    """A slice being painted, in coordinates (mm) around the left ventricle."""

    def __init__(self, size: int, spacing: float, rng: np.random.Generator) -> None:
        self.spacing, self.rng = spacing, rng
        at = (np.arange(size) - (size - 1) / 2) * spacing
        axes = [(at - shift).astype(np.float32) for shift in rng.normal(0, 6, 2)]
        self.y, self.x = np.meshgrid(*axes, indexing="ij")
        self.radius = np.hypot(self.x, self.y)
        self.angle = np.arctan2(self.y, self.x)
        frequency = np.fft.fftfreq(size, spacing)
        self.frequency2 = np.float32(frequency[:, None] ** 2 + np.fft.rfftfreq(size, spacing) ** 2)
        self.image = np.full((size, size), LUNG, dtype=np.float32)

    def chest(self, heart: Heart) -> None:
        """Everything behind the heart: lungs with vessels, the chest wall in front, liver and stomach below."""
        rng, reach = self.rng, heart.cavity + heart.wall
        vessels = np.clip(self._texture(3) - 1.8, 0, 1)
        self.image += 0.35 * vessels
        slope = rng.uniform(-0.5, 0.2)
        wall = reach + rng.uniform(4, 24) + self.y - slope * self.x + 3 * self._texture(25)
        self._paint(-wall, FAT * (0.8 + 0.1 * self._texture(6)))
        self._paint(-wall - rng.uniform(8, 16), CHEST * (0.8 + 0.3 * self._texture(5)))
        slope = rng.uniform(-0.1, 0.6)
        below = self.y - reach - rng.uniform(1, 16) + slope * self.x + 4 * self._texture(20)
        self._paint(below, LIVER * rng.uniform(0.4, 1.3) * (1 + 0.2 * self._texture(5)))

    def heart(self, heart: Heart, depth: float) -> np.ndarray:
        """The heart itself; returns its mask."""
        angle = _wrapped(self.angle - heart.turn)
        taper = 1 - 0.14 * depth  # towards the apex
        cavity = heart.cavity * taper * (1 + self._wobble(angle, 0.035))
        septum = _bump(angle, np.pi, 1.2)
        wall = heart.wall * (1 + heart.septal_excess * septum) * (1 + self._wobble(angle, 0.05))
        scar = _bump(angle, heart.scar_angle, heart.scar_width) if heart.scar_width else np.zeros_like(angle)
        wall = wall * (1 - heart.scar_thinning * scar)
        outer = cavity + wall

        right = self._right_ventricle(heart, taper * (1 - 0.1 * depth), outer)
        blood = cavity - self.radius
        muscle = outer - self.radius
        # Fat lies around the right ventricle and in the grooves; beside the left one the lung begins.
        fat = heart.fat * (0.4 + 1.2 * _bump(angle, np.pi, 2.6)) * (1 + 0.7 * self._texture(22))
        self._paint(np.maximum(muscle, right + 3) + fat, FAT * (0.55 + 0.2 * self._texture(9)))
        self._paint(np.maximum(muscle, right + 3), MUSCLE * 0.8)
        self._paint(right - 2 * np.abs(self._texture(5)), 0.72 + 0.12 * self._texture(7))
        self._paint(muscle, (MUSCLE + 0.2 * heart.scar_thinning * scar) * (1 + 0.15 * self._texture(4)))
        trabeculae = 1.6 * np.abs(self._texture(6))
        self._paint(blood - trabeculae, 0.97 + 0.08 * self._texture(6))
        self._papillary_muscles(heart, angle, cavity)

        mask = np.zeros(self.image.shape, dtype=np.uint8)
        mask[right > 0] = RIGHT_VENTRICLE
        mask[muscle > 0] = MYOCARDIUM
        mask[blood > 0] = LEFT_VENTRICLE
        return mask

    def acquire(self, noise: float) -> np.ndarray:
        """What the scanner makes of the picture: finite resolution, coil shading, Rician noise; uint16."""
        image = self._blur(self.image, 0.55 * self.spacing + 0.5)
        direction = self.rng.normal(-2.2, 0.5)  # the coil lies on the chest: above, to the left
        towards = np.cos(direction) * self.x + np.sin(direction) * self.y
        image = image * np.exp(towards / self.rng.uniform(120, 300))
        real, imaginary = self.rng.normal(0, noise, (2, *image.shape))
        return np.rint(BRIGHTNESS * np.hypot(image + real, imaginary)).astype(np.uint16)

    def _right_ventricle(self, heart: Heart, taper: float, outer: np.ndarray) -> np.ndarray:
        """Depth (mm) inside the crescent that the right ventricle leaves beside the septum."""
        reach = heart.right * taper
        base = heart.cavity + heart.wall
        turn = heart.turn + np.pi + 0.15
        along = np.cos(turn) * self.x + np.sin(turn) * self.y
        across = -np.sin(turn) * self.x + np.cos(turn) * self.y
        middle = base * 0.35
        half_width, half_height = base * 0.65 + reach, base * 0.8 + 0.45 * reach
        around = np.hypot((along - middle) / half_width, across / half_height)
        ellipse = (1 - around * (1 + self._wobble(np.arctan2(across, along), 0.05))) * half_height
        return np.minimum(ellipse, self.radius - outer)

    def _papillary_muscles(self, heart: Heart, angle: np.ndarray, cavity: np.ndarray) -> None:
        for middle in (-0.7, 1.0):
            at = middle + self.rng.normal(0, 0.2)
            size = self.rng.uniform(0.1, 0.19) * heart.cavity
            distance = heart.cavity * self.rng.uniform(0.62, 0.8)
            apart = np.sqrt(self.radius**2 + distance**2 - 2 * self.radius * distance * np.cos(angle - at))
            self._paint(size - apart + 0.8 * self._texture(4), MUSCLE + 0.1)

    def _paint(self, depth: np.ndarray, brightness: np.ndarray | float) -> None:
        """Cover where `depth` (mm inside a shape) is positive, by part of a pixel at its edge."""
        cover = np.clip(depth / self.spacing + 0.5, 0, 1)
        self.image += cover * (brightness - self.image)

    def _texture(self, scale: float) -> np.ndarray:
        """Smooth random field of mean 0 and deviation 1, whose patches are about `scale` mm wide."""
        field = self._blur(self.rng.random(self.image.shape, dtype=np.float32), scale / 2)
        return (field - field.mean()) / field.std()

    def _blur(self, image: np.ndarray, sigma: float) -> np.ndarray:
        """Gaussian blur of `sigma` mm."""
        transfer = np.exp(-2 * (np.pi * sigma) ** 2 * self.frequency2)
        return np.fft.irfft2(np.fft.rfft2(image) * transfer, s=image.shape)

    def _wobble(self, angle: np.ndarray, amplitude: float) -> np.ndarray:
        """Smooth random departure from a circle."""
        waves = (
            self.rng.normal(0, amplitude / order) * np.cos(order * (angle - self.rng.uniform(0, 2 * np.pi)))
            for order in (2, 3, 4)
        )
        return sum(waves, np.zeros_like(angle))


def _bump(angle: np.ndarray, middle: float, width: float) -> np.ndarray:
    """1 at an angle, falling smoothly to 0 at `width` to either side."""
    return np.clip(1.5 * (1 - (_wrapped(angle - middle) / width) ** 2), 0, 1)


def _wrapped(angle: np.ndarray) -> np.ndarray:
    """The same angle between -π and π."""
    return (angle + np.pi) % (2 * np.pi) - np.pi


def _write(path: Path, pixels: np.ndarray, spacing: float) -> None:
    """A volume of one slice, as short-axis stacks are cut."""
    image = sitk.GetImageFromArray(pixels[np.newaxis])
    image.SetSpacing((spacing, spacing, SLICE_THICKNESS))
    sitk.WriteImage(image, str(path), useCompression=True)  # ITK would call Path.__str__, which a signal may end
