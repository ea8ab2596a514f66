"""What one chip does in a compiled program: operations, bytes of HBM, cycles, transfers. Loop trips are multiplied."""

import dataclasses
import math
import re
from collections import defaultdict

from t2i_jax.planning.hlo import Computation, Instruction, Program, runs

COLLECTIVES = ("all-gather", "all-reduce", "reduce-scatter", "all-to-all", "collective-permute", "collective-broadcast",
               "ragged-all-to-all")
# They rename, or their parts are counted by themselves.
FREE = ("parameter", "constant", "get-tuple-element", "tuple", "bitcast", "while", "conditional", "call", "after-all",
        "partition-id", "replica-id", "copy-done", "async-done", "async-update", "iota", "optimization-barrier")


@dataclasses.dataclass(frozen=True)
class Transfer:
    """All transfers of one kind and group size."""

    kind: str
    group: int  # chips that take part in one
    times: float
    sent: float  # bytes that a chip has to hand on: an all-reduce hands on its share twice
    hidden: bool  # started and awaited separately, so that computation may go on meanwhile


@dataclasses.dataclass(frozen=True)
class Counts:
    """Per chip, of the whole program."""

    flops: float  # of matrix products and convolutions; a multiply-add is 2
    bytes: float  # read from and written to HBM
    cycles: float  # XLA's estimate, without transfers
    transfers: tuple[Transfer, ...]


def count(program: Program) -> Counts:
    """Everything a chip does in one call."""
    flops = moved = cycles = 0.0
    transfers, seen = defaultdict(lambda: [0.0, 0.0]), {}
    for run in runs(program):
        computation = program.computations[run.computation]
        for instruction in computation.values():
            if instruction.opcode == "convolution":
                flops += run.times * convolution_flops(instruction, computation)
            elif instruction.opcode == "dot":
                flops += run.times * dot_flops(instruction, computation)
            kind = instruction.opcode.removesuffix("-start")
            if kind in COLLECTIVES:
                # The text repeats a transfer in every fusion that it runs beside; its channel says that it is one.
                channel = re.search(r"channel_id=(\d+)", instruction.rest)
                key = channel[1] if channel else f"{run.computation}/{instruction.name}"
                # Of an all-reduce a fusion keeps one part: that is a reduce-scatter, and nothing runs beside it. Other
                # transfers in fusions are there because the fusion computes meanwhile.
                kind = "reduce-scatter" if run.fused and kind == "all-reduce" else kind
                hidden = instruction.opcode.endswith("-start") or run.fused and kind != "reduce-scatter"
                if run.times > seen.get(key, (0,))[0]:
                    group = group_size(instruction)
                    seen[key] = run.times, kind, group, sent(kind, group, instruction, computation), hidden
            if not run.fused and instruction.opcode not in FREE:
                moved += run.times * touched(instruction, computation, program)
                found = re.search(r'"estimated_cycles":"(\d+)"', instruction.rest)
                cycles += run.times * int(found[1]) if found else 0
    for times, kind, group, size, hidden in seen.values():
        total = transfers[kind, group, hidden]
        total[0] += times
        total[1] += times * size
    ordered = sorted(transfers.items(), key=lambda entry: -entry[1][1])
    return Counts(flops, moved, cycles, tuple(
        Transfer(kind, group, times, size, hidden) for (kind, group, hidden), (times, size) in ordered))


def dot_flops(instruction: Instruction, where: Computation) -> float:
    """2 x results x products summed for each."""
    left = where[instruction.operands[0]].shapes[0].sizes
    summed = re.search(r"lhs_contracting_dims=\{([\d,]*)\}", instruction.rest)[1]
    return 2 * math.prod(instruction.shapes[0].sizes) * math.prod(left[int(axis)] for axis in summed.split(",") if axis)


def convolution_flops(instruction: Instruction, where: Computation) -> float:
    """2 x products that fall inside the picture: TPUs compute matrix products as convolutions that are mostly padding."""
    left, kernel = (where[name].shapes[0].sizes for name in instruction.operands)
    in_labels, rest = re.search(r"dim_labels=([^, ]*)", instruction.rest)[1].split("_", 1)
    kernel_labels, out_labels = rest.split("->")
    out = instruction.shapes[0].sizes
    window = re.search(r"window=\{([^}]*)\}", instruction.rest)
    options = dict(part.split("=") for part in window[1].split()) if window else {}
    products = out[out_labels.index("b")] * out[out_labels.index("f")] * kernel[kernel_labels.index("i")]
    batch_groups = re.search(r"batch_group_count=(\d+)", instruction.rest)
    products /= int(batch_groups[1]) if batch_groups else 1
    spatial = sorted(label for label in out_labels if label.isdigit())
    for number, label in enumerate(spatial):
        part = lambda name, default: options[name].split("x")[number] if name in options else default
        low = int(part("pad", "0_0").split("_")[0])
        stride, dilation, spread = (int(part(name, 1)) for name in ("stride", "lhs_dilate", "rhs_dilate"))
        products *= _valid(left[in_labels.index(label)], kernel[kernel_labels.index(label)], out[out_labels.index(label)],
                           low, stride, dilation, spread)
    return 2 * products


def _valid(length: int, kernel: int, out: int, low: int, stride: int, dilation: int, spread: int) -> int:
    """Pairs (place of the result, place of the kernel) that meet an element of a line of `length`."""
    reach = (length - 1) * dilation + 1
    return sum(
        1 for place in range(out) for tap in range(kernel)
        if 0 <= (index := place * stride + tap * spread - low) < reach and index % dilation == 0
    )


def group_size(instruction: Instruction) -> int:
    """How many chips take part in one transfer."""
    text = instruction.rest
    if found := re.search(r"replica_groups=mesh\[([^\]]*)\][^{]*\{([^}]*)\}", text):
        sizes = dict(re.findall(r"'([^']*)'=(\d+)", found[1]))
        return math.prod(int(sizes[axis]) for axis in re.findall(r"'([^']*)'", found[2]))
    if found := re.search(r"replica_groups=\[(\d+),(\d+)\]", text):
        return int(found[2])
    if found := re.search(r"replica_groups=\{\{([\d,]*)\}", text):
        return len(found[1].split(","))
    if "source_target_pairs" in text:
        return 2  # from one to one
    raise ValueError(f"{instruction.name}: it is not known who takes part: {text[:200]}")


def sent(kind: str, group: int, instruction: Instruction, where: Computation) -> float:
    """Bytes that a chip hands on in one transfer, by the usual ring: n chips, (n - 1)/n of the whole."""
    given = sum(shape.bytes for name in instruction.operands for shape in where[name].shapes)
    share = (group - 1) / group
    match kind:
        case "all-gather":
            return given * (group - 1)
        case "all-reduce":
            return 2 * given * share
        case "reduce-scatter" | "all-to-all" | "ragged-all-to-all":
            return given * share
        case _:
            return given


def touched(instruction: Instruction, where: Computation, program: Program) -> float:
    """Bytes of HBM that one instruction reads and writes; of arrays it only slices or updates, that part."""
    inner = instruction.attribute("calls") if instruction.opcode == "fusion" else None
    inside = program.computations[inner] if inner else None
    if instruction.opcode == "dynamic-slice":
        return 2 * instruction.bytes
    if instruction.opcode == "dynamic-update-slice":
        return 2 * where[instruction.operands[1]].bytes
    # What starts a copy gives the copy, then the original and a flag.
    started = instruction.opcode == "copy-start"
    total = instruction.shapes[0].bytes * (not instruction.shapes[0].fast) if started else instruction.bytes
    if inside:
        parameters = {int(re.match(r"\d+", i.rest)[0]): i.name for i in inside.values() if i.opcode == "parameter"}
        total = 0.0
        root = list(inside.values())[-1]
        outputs = [inside[name] for name in root.operands] if root.opcode == "tuple" else [root]
        for shape, output in zip(instruction.shapes, outputs, strict=False):
            if not shape.fast:
                updates = output.opcode == "dynamic-update-slice"
                total += inside[output.operands[1]].shapes[0].bytes if updates else shape.bytes
    for number, name in enumerate(instruction.operands):
        operand = where[name]
        size = operand.bytes
        if inside and size:
            users = [i for i in inside.values() if parameters[number] in i.operands]
            if users and all(_partial(i, parameters[number]) for i in users):
                size = sum(i.shapes[0].bytes if i.opcode == "dynamic-slice" else 0.0 for i in users)
        total += size
    return total



def _partial(instruction: Instruction, name: str) -> bool:
    """Whether it reads only a part of an array: slices it, or writes into it."""
    return instruction.opcode in ("dynamic-slice", "dynamic-update-slice") and instruction.operands[0] == name
