import hypothesis.strategies as st
from hypothesis import given

from components.core.contract import derive_seed

SEEDS = st.integers(0, 2**63 - 1)


@given(seed=SEEDS, step=st.integers(0, 10_000))
def test_a_seed_and_a_purpose_give_63_bits_and_always_the_same(seed, step):
    derived = derive_seed(seed, "step", step)
    assert 0 <= derived < 2**63
    assert derived == derive_seed(seed, "step", step)


def test_replicates_are_no_shifted_copies_of_each_other():
    derived = {derive_seed(seed, "epoch", epoch) for seed in range(100) for epoch in range(100)}
    assert len(derived) == 100 * 100


def test_another_purpose_draws_otherwise():
    assert len({derive_seed(0, purpose) for purpose in ("refiner", "discriminator", "real", "synthetic")}) == 4
