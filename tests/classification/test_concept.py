import json

import numpy as np
import pytest
import torch

from components.classification.concept import FEATURES, ConceptNetwork
from components.classification.params import ConceptParams, StylesParams
from components.classification.step import label_styles, train_concept
from components.core.errors import UserError
from components.core.images import NO_FOLD, TEST_FOLD, ImageSet, load_model, model_facts

PARAMS = ConceptParams(
    threads=1,
    seed=0,
    batch_size=20,
    precision="fp32",
    checkpoint_seconds=10.0,
    width=4,
    updates=40,
    learning_rate=0.01,
    weight_decay=0.0,
)
STYLES = StylesParams(threads=1, seed=0, styles=3)


def stripes(count):
    """Images with a stripe high up, in the middle or low down, their class; the last 30 are the test part."""
    random = np.random.default_rng(0)
    labels = np.arange(count) % 3
    images = random.integers(0, 60, (count, 1, 28, 28), dtype=np.uint8)
    for image, label in zip(images, labels, strict=True):
        row = 4 + 9 * label + random.integers(-1, 2)
        image[0, row : row + 3, random.integers(0, 8) : random.integers(18, 28)] = 255
    folds = np.where(np.arange(count) < count - 30, NO_FOLD, TEST_FOLD)
    return ImageSet(images, labels.astype(np.int64), ("0", "1", "2"), np.full(count, ""), folds, source="stripes")


@pytest.fixture
def data(tmp_path):
    stripes(150).save(tmp_path / "data")
    return tmp_path / "data"


@pytest.fixture
def concept(data, tmp_path):
    train_concept(PARAMS, data=data, concepts="digits", out=tmp_path / "concept")
    return tmp_path / "concept"


@pytest.mark.parametrize("size", [24, 28])
def test_the_features_are_what_the_decision_is_made_from(size):
    network = ConceptNetwork(10, 1, 4).eval()
    images = torch.randn(2, 1, size, size)
    features = network.features(images)
    assert features.shape == (2, FEATURES)
    assert torch.equal(network.head(features), network(images))


def test_the_concepts_are_learnt_and_tested_on_the_test_part(concept):
    result = json.loads((concept / "result.json").read_text())
    assert result["concepts"] == "digits" and result["classes"] == ["0", "1", "2"]
    assert result["accuracy"] > 0.9
    assert load_model(concept, ConceptNetwork)(torch.zeros(1, 1, 28, 28)).shape == (1, 3)


def test_styles_are_labels_of_one_classs_images_the_commonest_first(data, concept, tmp_path):
    label_styles(STYLES, data=data, concept=concept, label="1", out=tmp_path / "styles")
    styles, real = ImageSet.load(tmp_path / "styles"), ImageSet.load(data).of_class("1")
    assert np.array_equal(styles.images, real.images) and np.array_equal(styles.folds, real.folds)
    assert styles.classes == ("style-0", "style-1", "style-2")
    counts = list(styles.training(TEST_FOLD).counts().values())
    assert counts == sorted(counts, reverse=True) and min(counts) > 0
    assert styles.source == "stripes"


def test_the_same_styles_are_found_again(data, concept, tmp_path):
    digests = {label_styles(STYLES, data=data, concept=concept, label="1", out=tmp_path / n)["digest"] for n in "ab"}
    assert len(digests) == 1


def test_styles_need_images_enough_a_known_class_and_the_network_of_these_data(data, concept, tmp_path):
    def label(**changes):
        given = {"data": data, "concept": concept, "label": "1"} | changes
        params = STYLES.model_copy(update={"styles": given.pop("styles", 3)})
        label_styles(params, out=tmp_path / "styles", **given)

    with pytest.raises(UserError, match="41 writing styles cannot be told apart by 40 images"):
        label(styles=41)
    with pytest.raises(UserError, match=r"There is no class '7' in .*; choose one of 0, 1, 2"):
        label(label="7")
    stripes(153).save(tmp_path / "other")
    with pytest.raises(UserError, match=r"was not trained on .*; train it again"):
        label(data=tmp_path / "other")
    assert not (tmp_path / "styles").exists()


def test_a_style_network_descends_from_the_training_part_of_the_styles(data, concept, tmp_path):
    label_styles(STYLES, data=data, concept=concept, label="2", out=tmp_path / "styles")
    train_concept(PARAMS, data=tmp_path / "styles", concepts="styles", out=tmp_path / "style-concept")
    origin = ImageSet.load(tmp_path / "styles").training(TEST_FOLD).digest()
    assert model_facts(tmp_path / "style-concept") == {"origin": origin, "concepts": "styles"}
