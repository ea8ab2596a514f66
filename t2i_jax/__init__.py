"""t2i_jax: train and use text-to-image GANs in JAX."""

__version__ = "0.1.0"
