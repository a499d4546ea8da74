"""Writing styles: the concepts of images that all show one digit (Liu et al. 2021, section IV.C).

The paper scores generators of sixes by a concept network that "would still divide the set into several categories",
and does not say by which. We read: by how the digit is written. The styles are clusters of the real digits in the
features of the ten-digit network.
"""

import numpy as np
import torch
from sklearn.cluster import KMeans
from threadpoolctl import threadpool_limits

from components.classification.concept import ConceptNetwork
from components.core.errors import UserError
from components.core.images import TEST_FOLD, ImageSet
from components.core.training import as_floats, device

BATCH_SIZE = 500


def by_style(digits: ImageSet, network: ConceptNetwork, styles: int, threads: int, seed: int) -> ImageSet:
    """The images of one digit, labelled by writing style, the commonest style first.

    Args:
        digits: images of one class; the clusters are fitted to their training part.
        network: the ten-digit concept network, in evaluation mode.
        styles: number of clusters.
        threads: for k-means, whose sums hang on them.
        seed: of k-means' first centres.

    Raises:
        UserError: the training part has fewer images than there are to be styles.
    """
    training = digits.folds != TEST_FOLD
    if training.sum() < styles:
        raise UserError(
            f"{styles} writing styles cannot be told apart by {training.sum()} images of one digit; "
            "take more data, or lower digits.styles.styles."
        )
    features = _features(digits, network)
    with threadpool_limits(threads):
        clusters = KMeans(styles, n_init=10, random_state=seed & 0xFFFF_FFFF).fit(features[training])
        found = clusters.predict(features)
    order = np.argsort(-np.bincount(found[training], minlength=styles), kind="stable")
    rank = np.argsort(order)
    return ImageSet(
        images=digits.images,
        labels=rank[found].astype(np.int64),
        classes=tuple(f"style-{style}" for style in range(styles)),
        groups=digits.groups,
        folds=digits.folds,
        source=digits.source,
    )


def _features(digits: ImageSet, network: ConceptNetwork) -> np.ndarray:
    """The network's features (N, F) of all images."""
    images = torch.from_numpy(np.array(digits.images)).to(device())
    network = network.to(device())
    with torch.no_grad():
        parts = [network.features(as_floats(batch)) for batch in images.split(BATCH_SIZE)]
    return torch.cat(parts).cpu().numpy()
