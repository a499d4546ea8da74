"""What Liu et al. 2021 (paper 2) report, and where the pipeline had to read between its lines."""

from components.evaluation.digits.trainings import Experiment, Network

NETWORK_NAMES: dict[Network, str] = {"gan": "GAN", "dcgan": "DCGAN"}

QUALITIES: dict[Experiment, str] = {"complex": "diversity", "simple": "quality"}
"""What the paper takes an experiment's Inception Score for."""

INCEPTION_SCORE: dict[Network, dict[Experiment, float]] = {
    "gan": {"complex": 4.55, "simple": 4.80},
    "dcgan": {"complex": 6.10, "simple": 6.82},
}
"""Table 3: IS_c of experiment 1, IS_s of experiment 2."""

MILESTONES: dict[Network, tuple[int, ...]] = {
    "gan": (0, 10_000, 50_000, 100_000),
    "dcgan": (0, 1_000, 5_000, 10_000),
}
"""Iterations after which the paper shows samples (Figures 3, 5, 7, 9): 0, 10, 50 and 100 % of the training."""

READINGS = (
    "The concepts of experiment 1 are the ten digits. For experiment 2 the ten digits would give a score of 1 to any "
    "good generator, as it draws one digit only; yet the paper reports 4.80 and 6.82, and says that its network “would "
    "still divide the set into several categories”. We read: the concepts are writing styles of the digit, k-means "
    "clusters of the real training images in the ten-digit network’s features, and a network of their own tells them "
    "apart.",
    "The paper’s formula (18) leaves H(y) out and turns the sign of H(y|x), by which an unsure network would score "
    "higher. We read: both scores are formula (13), ln IS = H(y) − H(y|x).",
    "The paper does not describe its concept network. Ours is a small convolutional network, trained on the real "
    "training images.",
    "The paper’s text says 10 000 iterations of DCGAN, its Table 1 says 100 000. Samples are shown after 0, 10, 50 and "
    "100 % of whatever the length is.",
    "The paper gives no deviation. Ours is the sample standard deviation over the trainings, or over the parts of one "
    "training’s images (n − 1 in the denominator).",
)
