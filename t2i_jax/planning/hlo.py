"""A compiled program as XLA prints it: its computations, and how often each one runs."""

import re
from typing import NamedTuple

BITS = {"pred": 8, "s4": 4, "u4": 4, "s8": 8, "u8": 8, "f8e4m3fn": 8, "f8e5m2": 8, "bf16": 16, "f16": 16, "s16": 16, "u16": 16,
        "f32": 32, "s32": 32, "u32": 32, "f64": 64, "s64": 64, "u64": 64, "c64": 64, "c128": 128, "token": 0, "opaque": 0}
SHAPE = re.compile(r"(\w+)\[([\d,]*)\](\{[^}]*\})?")
NAME = re.compile(r"%([\w.\-]+)")


class Shape(NamedTuple):
    """One array."""

    dtype: str
    sizes: tuple[int, ...]
    fast: bool  # in the memory of the core, not in HBM

    @property
    def bytes(self) -> float:
        """Without padding."""
        count = BITS.get(self.dtype, 32) / 8
        for size in self.sizes:
            count *= size
        return count


class Instruction(NamedTuple):
    """One line."""

    name: str
    shapes: tuple[Shape, ...]  # of the result: several of a tuple
    opcode: str
    operands: tuple[str, ...]
    rest: str  # attributes; of a constant its value first, of a parameter its number

    def attribute(self, name: str) -> str | None:
        """The name that an attribute such as `calls=%fusion.1` gives."""
        found = re.search(rf"\b{name}=%([\w.\-]+)", self.rest)
        return found and found[1]

    @property
    def bytes(self) -> float:
        """Of the result, as far as it lies in HBM."""
        return sum(shape.bytes for shape in self.shapes if not shape.fast)

    @property
    def source(self) -> str:
        """What in the model it came of, as JAX named it."""
        found = re.search(r'op_name="([^"]*)"', self.rest)
        return found[1] if found else self.name


Computation = dict[str, Instruction]


class Program(NamedTuple):
    """A whole module."""

    computations: dict[str, Computation]
    entry: str


def parse(text: str) -> Program:
    """The program of `compiled.as_text()`."""
    computations, entry, current = {}, "", None
    for line in text.splitlines():
        if line.startswith(("%", "ENTRY")) and line.endswith("{"):
            name = NAME.search(line)[1]
            entry = name if line.startswith("ENTRY") else entry
            current = computations.setdefault(name, {})
        elif line.startswith("  ") and " = " in line and current is not None:
            instruction = _instruction(line)
            current[instruction.name] = instruction
    return Program(computations, entry)


def _instruction(line: str) -> Instruction:
    left, _, right = line.partition(" = ")
    end = _closing(right, 0) + 1 if right.startswith("(") else right.index(" ")
    shape, right = right[:end], right[end:].lstrip()
    opening = right.index("(")
    closing = _closing(right, opening)
    inside, rest = right[opening + 1 : closing], right[closing + 1 :]
    shapes = tuple(
        Shape(dtype, tuple(int(size) for size in sizes.split(",") if size), "S(1)" in layout)
        for dtype, sizes, layout in SHAPE.findall(shape)
    )
    opcode = right[:opening]
    name = NAME.search(left)[1]
    return Instruction(name, shapes, opcode, tuple(NAME.findall(inside)), inside + rest if opcode in ("constant", "parameter") else rest)


def _closing(text: str, opening: int) -> int:
    """Where the parenthesis at `opening` closes."""
    depth = 0
    for found in re.finditer(r"[()]", text[opening:]):
        depth += 1 if found[0] == "(" else -1
        if not depth:
            return opening + found.start()
    raise ValueError(f"a line of the compiled program does not close: {text[:200]}")


def trips(program: Program, where: Computation, loop: Instruction) -> int:
    """How often the body of a `while` in computation `where` runs: its limit less its start, both constants.

    Raises ValueError where the loop does not count from a constant to a constant by ones.
    """
    condition = program.computations[loop.attribute("condition")]
    for compare in condition.values():
        if compare.opcode == "compare" and "direction=LT" in compare.rest:
            counter, limit = (condition[name] for name in compare.operands)
            found = re.search(r"index=(\d+)", counter.rest)
            if limit.opcode == "constant" and counter.opcode == "get-tuple-element" and found:
                start = _start(where, loop, int(found[1]))
                if start is not None:
                    return int(re.match(r"-?\d+", limit.rest)[0]) - start
    raise ValueError(f"loop {loop.name} ({loop.source}) has no constant number of trips")


def _start(where: Computation, loop: Instruction, index: int) -> int | None:
    values = where[loop.operands[0]]
    if values.opcode != "tuple":
        return None
    value = where[values.operands[index]]
    while value.opcode in ("copy", "bitcast"):
        value = where[value.operands[0]]
    found = re.match(r"-?\d+", value.rest) if value.opcode == "constant" else None
    return int(found[0]) if found else None


class Run(NamedTuple):
    """A computation as it runs."""

    computation: str
    times: float
    fused: bool  # inside another instruction: what it hands on stays in the core


def runs(program: Program) -> list[Run]:
    """Every computation that runs, with how often: loop trips multiplied, of branches all. What reductions apply to pairs
    of numbers is left out."""
    found: dict[tuple[str, bool], float] = {}

    def visit(name: str, times: float, fused: bool) -> None:
        found[name, fused] = found.get((name, fused), 0) + times
        computation = program.computations[name]
        for instruction in computation.values():
            match instruction.opcode:
                case "while":
                    count = trips(program, computation, instruction)
                    visit(instruction.attribute("body"), times * count, fused)
                case "conditional":
                    branches = re.search(r"branch_computations=\{([^}]*)\}", instruction.rest)
                    names = NAME.findall(branches[1]) if branches else [
                        instruction.attribute(f"{which}_computation") for which in ("true", "false")]
                    for branch in names:
                        visit(branch, times, fused)
                case "call":
                    visit(instruction.attribute("to_apply"), times, fused)
                case _:
                    inner = instruction.attribute("calls")
                    if inner:
                        visit(inner, times, True)

    visit(program.entry, 1, False)
    return [Run(name, times, fused) for (name, fused), times in found.items()]
