"""What Fu et al. 2021 (paper 1) report, and where the pipeline had to read between its lines."""

from components.evaluation.cardiac.fold import Network, TrainingSet

NETWORK_NAMES: dict[Network, str] = {"resnet50": "ResNet-50", "xception": "Xception"}
SET_NAMES: dict[TrainingSet, str] = {
    "none": "Real only",
    "classic": "Classic",
    "egan": "E-GAN",
    "simgan": "SimGAN",
    "oracle": "Oracle",
    "repeat": "Repeat",
}
"""The paper's training sets, and the controls, of which a run may lack some."""

ACCURACY: dict[Network, dict[TrainingSet, float]] = {
    "resnet50": {"none": 0.777, "classic": 0.809, "egan": 0.848, "simgan": 0.861},
    "xception": {"none": 0.795, "classic": 0.828, "egan": 0.869, "simgan": 0.880},
}
"""Mean accuracy over four folds: Tables 2 and 3."""

RATIOS: dict[TrainingSet, int] = {"classic": 0, "egan": 3, "simgan": 4}
"""Generated images per real one that these accuracies were reached with. Figure 7's other points are given as a picture
alone, and of refined images there is none.
"""

MAJORITY = 221 / 298
"""Accuracy of always answering "patient" on the paper's 221 patient and 77 non-patient images."""

READINGS = (
    "Folds are split by patient: no patient's slices stand on both sides. The paper does not say how it split; "
    "splitting by slice would leak, and would flatter every number.",
    "Everything generated for a fold descends from that fold's training part only. This was checked by digest, "
    "for every generator, image set, refiner and classifier.",
    "Where one class is far commoner, accuracy flatters whoever always answers it. "
    "Balanced accuracy, ROC AUC and the majority line stand beside it; the paper gives none of them.",
    "The paper does not print its majority line: 221 of its 298 images show patients, which makes 74.2 %.",
    "The paper gives no standard deviation. Ours is the sample standard deviation over the folds (n − 1 in the "
    "denominator), and 0 where there is one fold.",
    "The paper tests nothing. We read its question as: do refined images help more than classic augmentation, which "
    "costs nothing? That one comparison was chosen before any run, of people and their area under the ROC curve. Where "
    "the data bring external test people it is made on them, else on the folds' own test people.",
    "Generated images join classically augmented ones: what counts is what they add to what costs nothing. The paper "
    "does not say whether its classifiers saw both.",
)
