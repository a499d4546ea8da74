"""The classifiers by name."""

from components.classification.resnet50 import ResNet50
from components.classification.xception import Xception

NETWORKS = {"resnet50": ResNet50, "xception": Xception}
