"""Handwritten digits for machines without a network: scikit-learn's own, made as large as MNIST's."""

from pathlib import Path

import numpy as np
from PIL import Image
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split

from components.data_prep.digits import TEST, TRAIN, file_name
from components.data_prep.idx import Kind, write_idx

SOURCE = "scikit-learn's bundled digits (1797 of 8×8 pixels, enlarged to 28×28)"

SIZE, BOX = 28, 20
"""Pixels along each side of an image, and of the box in its middle that the digit fills: MNIST's."""

BRIGHTEST = 16
"""What white is in scikit-learn's images."""

TEST_SHARE = 0.2


def write_bundled(out: Path) -> None:
    """Write the digits into the folder `out` as MNIST's four files, split the same way every time, class by class."""
    digits = load_digits()
    images = np.stack([enlarge(image) for image in digits.images])
    labels = digits.target.astype(np.uint8)
    split = train_test_split(np.arange(len(labels)), test_size=TEST_SHARE, stratify=labels, random_state=0)
    for part, chosen in zip((TRAIN, TEST), split, strict=True):
        write_idx(out / f"{file_name(part, Kind.IMAGES)}.gz", images[chosen])
        write_idx(out / f"{file_name(part, Kind.LABELS)}.gz", labels[chosen])


def enlarge(image: np.ndarray) -> np.ndarray:
    """An image (8, 8) in [0, 16] as one of MNIST's: (28, 28) uint8, white on black with a margin; bicubic."""
    box = Image.fromarray((image * (255 / BRIGHTEST)).astype(np.float32)).resize((BOX, BOX), Image.Resampling.BICUBIC)
    return np.pad(np.rint(np.clip(box, 0, 255)).astype(np.uint8), (SIZE - BOX) // 2)
