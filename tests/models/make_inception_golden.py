"""Makes inception_golden.npz: pytorch-fid's Inception with random weights on random pictures.

    pip install torchvision scipy && pip install --no-deps pytorch-fid==0.3.0
    python tests/models/make_inception_golden.py
"""

import zlib
from pathlib import Path

import numpy as np

GOLDEN = Path(__file__).with_name("inception_golden.npz")


def images(count: int = 2, size: int = 139) -> np.ndarray:
    """float32 [count, size, size, 3] in [-1, 1]: random squares, from fine ones to coarse ones."""
    random = np.random.RandomState(0)
    squares = lambda side: random.uniform(-1, 1, (size, size, 3))[:: side, :: side].repeat(side, 0).repeat(side, 1)
    return np.stack([squares(4 * 7**number)[:size, :size] for number in range(count)]).astype(np.float32)


def tensor(name: str, shape: tuple[int, ...]) -> np.ndarray:
    """Random weights that belong to a name; features stay of ordinary size through all layers."""
    random = np.random.RandomState(zlib.crc32(name.encode()))
    if name.endswith("running_var"):
        values = random.uniform(0.5, 1.5, shape)
    elif len(shape) > 1:
        values = random.standard_normal(shape) * (2 / np.prod(shape[1:])) ** 0.5
    else:
        values = name.endswith("bn.weight") + 0.1 * random.standard_normal(shape)
    return np.asarray(values, np.float32)


def published_shapes(golden) -> dict[str, tuple[int, ...]]:
    """{tensor name: shape} of the reference."""
    ends = np.cumsum(golden["lengths"])
    return {str(name): tuple(int(side) for side in golden["sides"][end - length : end])
            for name, length, end in zip(golden["names"], golden["lengths"], ends, strict=True)}


def main() -> None:
    import pytorch_fid.inception
    import torch
    import torchvision

    plain = torchvision.models.inception_v3(num_classes=1008, aux_logits=False, weights=None, init_weights=False)
    shapes = {name: tuple(values.shape) for name, values in plain.state_dict().items()}
    state = {name: torch.from_numpy(tensor(name, shape)) for name, shape in shapes.items()}
    # Its published weights have these names and shapes; here it is given random ones in their stead.
    pytorch_fid.inception.load_state_dict_from_url = lambda *_, **__: state
    network = pytorch_fid.inception.InceptionV3(resize_input=False, normalize_input=False).eval()
    with torch.no_grad():
        features = network(torch.from_numpy(images()).permute(0, 3, 1, 2))[0][:, :, 0, 0].numpy()
    lengths = np.array([len(shape) for shape in shapes.values()], np.int8)
    sides = np.array([side for shape in shapes.values() for side in shape], np.int32)
    np.savez_compressed(GOLDEN, features=features, names=list(shapes), lengths=lengths, sides=sides)


if __name__ == "__main__":
    main()
