"""Operations that a function asks for, counted from its jaxpr: of loops, every turn."""

import math
from collections.abc import Callable
from typing import Any

import jax
from jax.extend.core import ClosedJaxpr, Jaxpr


def matrix_flops(function: Callable, *arguments: Any) -> float:
    """2 x multiply-adds of all matrix products and convolutions; arguments may be ShapeDtypeStructs.

    Of branches the dearest counts. Raises ValueError for a loop whose number of turns is not known beforehand.
    """
    return _count(jax.make_jaxpr(function)(*arguments).jaxpr)


def _count(jaxpr: Jaxpr) -> float:
    total = 0.0
    for equation in jaxpr.eqns:
        match equation.primitive.name:
            case "dot_general":
                (summed, _), _ = equation.params["dimension_numbers"]
                left = equation.invars[0].aval.shape
                total += 2 * math.prod(equation.outvars[0].aval.shape) * math.prod(left[axis] for axis in summed)
            case "conv_general_dilated":
                total += _convolution(equation)
            case "scan":
                total += equation.params["length"] * _count(equation.params["jaxpr"].jaxpr)
            case "cond":
                total += max(_count(branch.jaxpr) for branch in equation.params["branches"])
            case "while":
                if _count(equation.params["body_jaxpr"].jaxpr):
                    raise ValueError("a while loop with matrix products has no known number of turns")
            case _:
                total += sum(_count(inner) for inner in _inner(equation.params))
    return total


def _convolution(equation) -> float:
    """As if no place of the kernel fell on padding or on holes between elements, of which holes are taken out."""
    left, kernel = (variable.aval.shape for variable in equation.invars)
    out, numbers = equation.outvars[0].aval.shape, equation.params["dimension_numbers"]
    out_features, in_features, *spatial = numbers.rhs_spec
    products = math.prod(out) * kernel[in_features] * math.prod(kernel[axis] for axis in spatial)
    return 2 * products / math.prod(equation.params["lhs_dilation"])


def _inner(params: dict) -> list[Jaxpr]:
    found = []
    for value in params.values():
        for entry in value if isinstance(value, (tuple, list)) else (value,):
            if isinstance(entry, ClosedJaxpr):
                found.append(entry.jaxpr)
            elif isinstance(entry, Jaxpr):
                found.append(entry)
    return found
