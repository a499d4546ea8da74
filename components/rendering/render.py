"""Pictures of any size rendered in colour: the network's chroma, the picture's own resolution and lightness."""

import warnings
from collections import Counter
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from skimage.color import lab2rgb, rgb2lab

from components.core.errors import UserError
from components.core.images import to_grey
from components.data_prep.problems import Unusable
from components.rendering.chroma import enlarge, small_chroma
from components.rendering.picture import VOLUMES, read_picture
from components.rendering.renderer import Renderer, load_renderer

BAND = 256
"""Rows that are turned from Lab into RGB at a time: the memory of large pictures."""

KEPT = 0.1
"""By how much the lightness (0 to 100) may change to show a colour as strong as it is meant."""

PALER = 0.7
"""What a colour that the screen cannot show is multiplied by, until it can."""

JPEG = (".jpg", ".jpeg")


def render_files(photographs: list[Path], model: str, out: Path) -> list[Path]:
    """Render picture files into a folder, a JPEG for each JPEG and a PNG for everything else.

    Args:
        photographs: JPEG, PNG, WebP, TIFF, … of any depth; or grey slices: .mha, .nii, .dcm, ….
        model: a registered model's URI, or a folder that holds one.
        out: made where it is missing.

    Returns:
        the files written, `<name>-coloured.<ext>`.

    Raises:
        UserError: there is no such model; two files would have one name; the folder cannot be made; some
            files could not be read: the others are done.
    """
    targets = [out / _name(path) for path in photographs]
    for target, count in Counter(targets).items():
        if count > 1:
            raise UserError(f"{count} pictures would all become {target}; render them into different folders.")
    renderer = load_renderer(model)
    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(f"The folder {out} cannot be made ({error.strerror}); name another.") from None
    problems, written = [], []
    for path, target in zip(photographs, targets, strict=True):
        try:
            picture = render(renderer, read_picture(path))
        except Unusable as problem:
            problems.append(f"{path} {problem}")
            continue
        picture.save(target, quality=95, subsampling=0)  # both are of JPEG; chroma is what this is about
        written.append(target)
    if problems:
        raise UserError(f"Not rendered: {'; '.join(problems)}.")
    return written


def render(renderer: Renderer, photograph: np.ndarray) -> Image.Image:
    """A picture in the network's colours, with its own lightness (L of CIE Lab) at its own size.

    Args:
        photograph: (H, W, 3) RGB float32 in [0, 1]; colours of its own are forgotten.
    """
    values = torch.from_numpy(photograph).permute(2, 0, 1)[None] * 2 - 1
    chroma = small_chroma(renderer, to_grey(values)[0, 0].numpy())
    lightness = np.concatenate([rgb2lab(rows)[..., 0] for rows in _bands(photograph)])
    lab = np.concatenate([lightness[..., None], enlarge(chroma, *lightness.shape)], axis=2)
    return Image.fromarray(np.concatenate([_show(rows) for rows in _bands(lab)]))


def _bands(values: np.ndarray) -> list[np.ndarray]:
    return np.split(values, range(BAND, len(values), BAND))


def _show(lab: np.ndarray) -> np.ndarray:
    """Lab (h, W, 3) as uint8 RGB; colours that no screen shows at their lightness are made paler, not darker."""
    pixels = lab.reshape(-1, 3)
    with warnings.catch_warnings(action="ignore", category=UserWarning):  # of colours without a place in RGB
        rgb = lab2rgb(pixels)
        wrong = np.arange(len(pixels))
        while len(wrong := wrong[np.abs(rgb2lab(rgb[wrong])[:, 0] - pixels[wrong, 0]) > KEPT]):
            pixels[wrong, 1:] *= PALER
            rgb[wrong] = lab2rgb(pixels[wrong])
    return (rgb.reshape(lab.shape) * 255).round().astype(np.uint8)


def _name(path: Path) -> str:
    suffix = next((each for each in sorted(VOLUMES, key=len, reverse=True) if path.name.endswith(each)), path.suffix)
    return f"{path.name.removesuffix(suffix)}-coloured{path.suffix if suffix.lower() in JPEG else '.png'}"
