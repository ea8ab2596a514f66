"""The state's counters and averages."""

import jax
import jax.numpy as jnp
import pytest
import toy

from t2i_jax.training.state import count_images, create, drawing_weights


@pytest.mark.parametrize("before, after", [((0, 0), (0, 32)), ((0, 2**32 - 16), (1, 16)), ((3, 2**32 - 32), (4, 0))])
def test_images_are_counted_over_two_words(before, after):
    assert count_images(jnp.array(before, jnp.uint32), 32).tolist() == list(after)


def test_drawing_takes_averages_where_they_are_kept_and_trained_values_elsewhere():
    state = create(toy.system(), jax.random.key(0))
    ema = jax.tree.map(lambda x: x + 1, state.ema)
    params, aux = drawing_weights(state.params, state.aux, ema)
    assert ema["params"].keys() == {"generator", "autoencoder"}
    assert jnp.array_equal(params["generator"]["bias"], state.params["generator"]["bias"] + 1)
    assert jnp.array_equal(params["discriminator"]["out"], state.params["discriminator"]["out"])
    assert jnp.array_equal(aux["mean"], state.aux["mean"])
