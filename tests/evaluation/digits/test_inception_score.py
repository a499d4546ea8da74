import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from components.evaluation.digits.inception_score import inception_score


@st.composite
def answers(draw, most=40):
    """p(y|x) of at least 4 images over 2 to 10 concepts, with zeros among them."""
    shape = draw(st.integers(4, most)), draw(st.integers(2, 10))
    weights = draw(arrays(np.float64, shape, elements=st.one_of(st.just(0.0), st.floats(1e-6, 1))))
    weights[weights.sum(axis=1) == 0] = 1
    return weights / weights.sum(axis=1, keepdims=True)


def naive(probabilities):
    """exp of the mean Kullback-Leibler divergence of p(y|x) from p(y): equation 12, term by term."""
    marginal = [math.fsum(column) / len(probabilities) for column in probabilities.T]
    divergences = [
        math.fsum(p * math.log(p / q) for p, q in zip(row, marginal, strict=True) if p > 0) for row in probabilities
    ]
    return math.exp(math.fsum(divergences) / len(divergences))


@pytest.mark.parametrize("concepts", [2, 3, 7, 10, 49, 1000])
def test_certain_and_evenly_spread_answers_score_their_number_exactly(concepts):
    score = inception_score(np.tile(np.eye(concepts), (3, 1)), parts=1)
    assert score.score.values == (concepts,)
    assert score.conditional_entropy.mean == 0
    assert score.marginal_entropy.mean == pytest.approx(math.log(concepts), rel=1e-15)


@pytest.mark.parametrize("answer", [[1, 0, 0], [0.1] * 10, [0.7, 0.2, 0.1, 0]])
def test_the_same_answer_to_every_image_scores_one_exactly(answer):
    score = inception_score(np.tile(answer, (1000, 1)), parts=10)
    assert score.score.values == (1,) * 10
    assert score.score.std == 0


def test_half_sure_answers_score_the_closed_form():
    """Ten concepts in five pairs, each image torn evenly between the two of its pair: 10 / 2."""
    pairs = np.kron(np.eye(5), [[0.5, 0.5]])
    assert inception_score(np.tile(pairs, (4, 1)), parts=1).score.mean == 5


@given(answers())
def test_the_score_is_the_mean_divergence_computed_naively(probabilities):
    assert inception_score(probabilities, parts=1).score.mean == pytest.approx(naive(probabilities), rel=1e-12)


@given(answers())
def test_the_score_lies_between_one_and_the_number_of_concepts(probabilities):
    for value in inception_score(probabilities, parts=2).score.values:
        assert 1 - 1e-12 <= value <= probabilities.shape[1] + 1e-12


@given(answers(), st.data())
def test_neither_the_order_of_concepts_nor_that_within_a_part_matters(probabilities, data):
    count, concepts = probabilities.shape
    order = np.arange(count)
    for first in (0, 1):
        order[first::2] = data.draw(st.permutations(list(order[first::2])))
    turned = probabilities[order][:, data.draw(st.permutations(range(concepts)))]
    ours, theirs = inception_score(probabilities, parts=2), inception_score(turned, parts=2)
    assert ours.score.values == pytest.approx(theirs.score.values, rel=1e-12)


@given(answers())
def test_the_logarithm_of_a_score_is_the_difference_of_the_entropies(probabilities):
    found = inception_score(probabilities, parts=3)
    entropies = zip(found.marginal_entropy.values, found.conditional_entropy.values, strict=True)
    expected = [math.exp(marginal - conditional) for marginal, conditional in entropies]
    assert found.score.values == pytest.approx(expected, rel=1e-12)


def test_images_are_dealt_out_in_turn_and_the_first_parts_take_what_is_left_over():
    probabilities = np.eye(7)  # parts of 3, 2 and 2 images
    assert inception_score(probabilities, parts=3).score.values == (3, 2, 2)


def test_mean_and_sample_deviation_are_over_the_parts():
    score = inception_score(np.eye(7), parts=3).score
    assert (score.mean, score.std) == (pytest.approx(7 / 3), pytest.approx(math.sqrt(1 / 3)))


@pytest.mark.parametrize("parts", [0, 4])
def test_more_parts_than_images_are_refused(parts):
    with pytest.raises(ValueError, match=f"3 images cannot be dealt out to {parts} parts"):
        inception_score(np.eye(3), parts)


def test_float32_answers_are_scored_in_float64():
    probabilities = np.full((10, 10), 0.1, dtype=np.float32)
    assert inception_score(probabilities, parts=1).score.mean == pytest.approx(1, rel=1e-7)
