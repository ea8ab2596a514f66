"""Text encoders: a small one trained with a system, and the architectures of published language models."""

from t2i_jax.models.text.own import TextEncoder as TextEncoder
