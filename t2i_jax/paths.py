"""Parameter paths: trees of arrays as {"player/layer/kernel": array}, by which players are told apart."""

from collections.abc import Callable, Mapping

from flax import traverse_util
from jax import Array


def flat(tree: dict) -> dict[str, Array]:
    """{"player/layer/kernel": array}."""
    return traverse_util.flatten_dict(tree, sep="/")


def nested(paths: Mapping[str, Array]) -> dict:
    """The tree that `flat` flattened."""
    return traverse_util.unflatten_dict(dict(paths), sep="/")


def select(tree: dict, wanted: Callable[[str], bool]) -> dict[str, Array]:
    """The flat part of `tree` whose paths are wanted."""
    return {path: array for path, array in flat(tree).items() if wanted(path)}


def merge(tree: dict, part: Mapping[str, Array]) -> dict:
    """`tree` with the arrays of the flat `part` in their places."""
    return nested({**flat(tree), **part})


def below(*prefixes: str) -> Callable[[str], bool]:
    """Whether a path is one of `prefixes` or lies below it."""
    return lambda path: any(path == prefix or path.startswith(prefix + "/") for prefix in prefixes)
