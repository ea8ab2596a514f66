"""A card with its pictures as one self-contained HTML page."""

import base64
import io
import json
from typing import Any

import jinja2
import numpy as np
from einops import rearrange
from PIL import Image

from t2i_jax.evaluation.card import Shown
from t2i_jax.evaluation.figures import KINDS, tables, written
from t2i_jax.evaluation.memorisation import NEAR_COPY
from t2i_jax.evaluation.page_template import TEMPLATE


def page(card: dict[str, Any], shown: Shown) -> str:
    """HTML with every picture inside it; captions are escaped, nothing is loaded from elsewhere and no script runs."""
    environment = jinja2.Environment(autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True)
    return environment.from_string(TEMPLATE).render(
        card=card, shown=shown, tables=tables(card), written=written, png=png, strip=strip, kinds=KINDS.values(),
        near=NEAR_COPY * 255, json=lambda value: json.dumps(value, ensure_ascii=False),
    )


def png(picture: np.ndarray) -> str:
    """A picture uint8 [H, W, C] as a data URI."""
    stream = io.BytesIO()
    Image.fromarray(picture[..., 0] if picture.shape[-1] == 1 else picture).save(stream, "PNG")
    return "data:image/png;base64," + base64.b64encode(stream.getvalue()).decode()


def strip(pictures: np.ndarray) -> str:
    """Pictures uint8 [N, H, W, C] side by side as a data URI."""
    return png(rearrange(pictures, "n h w c -> h (n w) c"))
