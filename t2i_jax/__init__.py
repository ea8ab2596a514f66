"""t2i_jax: train and use text-to-image GANs in JAX.

    import t2i_jax
    model = t2i_jax.load("runs/quickstart")
    images = model("a red heart", num_images=4, seed=0)  # list of PIL images
"""

from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"
__all__ = ["TextToImage", "__version__", "load"]

if TYPE_CHECKING:
    from t2i_jax.inference.pipeline import TextToImage, load


def __getattr__(name: str) -> Any:
    # Imported on first use: importing the package alone stays fast and starts no device.
    if name in ("TextToImage", "load"):
        from t2i_jax.inference import pipeline

        return getattr(pipeline, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
