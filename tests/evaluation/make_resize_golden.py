"""Makes resize_golden.npz: what clean-fid makes of a few pictures.

    pip install torch numpy pillow && pip install --no-deps clean-fid==0.1.35
    python tests/evaluation/make_resize_golden.py
"""

from pathlib import Path

import numpy as np

GOLDEN = Path(__file__).with_name("resize_golden.npz")
# {name: (height, width, new size)}
CASES = {"up": (11, 11, 29), "down": (64, 64, 20), "to_one_size": (24, 40, 32), "a_little_down": (37, 37, 31)}


def pictures(height: int, width: int) -> np.ndarray:
    """uint8 [2, height, width, 3]: noise, and hard-edged stripes in all directions."""
    noise = np.random.RandomState(0).randint(0, 256, (height, width, 3))
    row, column = np.mgrid[:height, :width]
    stripes = np.stack([row % 4 < 2, column % 6 < 3, (row + column) % 10 < 5], axis=-1) * 255
    return np.stack([noise, stripes]).astype(np.uint8)


def main() -> None:
    from cleanfid.resize import make_resizer

    golden = {}
    for name, (height, width, size) in CASES.items():
        resize = make_resizer("PIL", False, "bicubic", (size, size))
        golden[name] = np.stack([resize(picture) for picture in pictures(height, width)]).astype(np.float16)
    np.savez_compressed(GOLDEN, **golden)


if __name__ == "__main__":
    main()
