import numpy as np

from t2i_jax.data.randomness import bits, permutation, uniform


def test_draws_never_change():
    """Recorded once: other values would change the data order of every run that resumes."""
    assert bits(0, "caption", np.array([0, 1, 2**33], np.uint64)).tolist() == [
        7024247393243383092, 4413017964544166073, 2836018363419442130]
    assert permutation(7, 2, 6).tolist() == [5, 1, 2, 3, 0, 4]


def test_uniform_numbers_are_uniform_and_independent():
    index = np.arange(20000)
    one, other = uniform(bits(1, "flip", index)), uniform(bits(1, "scale", index))
    for draws in (one, other, uniform(bits(2, "flip", index))):
        assert 0 <= draws.min() and draws.max() < 1
        np.testing.assert_allclose(np.histogram(draws, 10, (0, 1))[0], 2000, rtol=0.1)
    assert abs(np.corrcoef(one, other)[0, 1]) < 0.03 and abs(np.corrcoef(one[1:], one[:-1])[0, 1]) < 0.03


def test_permutations_hold_every_number_once_and_differ_by_epoch_and_seed():
    orders = {tuple(permutation(seed, epoch, 50)) for seed in range(4) for epoch in range(4)}
    assert len(orders) == 16 and all(sorted(order) == list(range(50)) for order in orders)
