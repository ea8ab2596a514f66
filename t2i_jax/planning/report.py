"""A plan as text, as a row of a table, and as JSON; each figure says whether it was compiled, modelled or assumed."""

from collections import defaultdict

from t2i_jax.planning.chips import chip_of
from t2i_jax.planning.plan import Plan

GIB = 2.0**30
ASSUMED = ("assumed: the chip's published peak and bandwidth, {interconnect:.0f} GB/s handed on by a collective, "
           "${price:.2f} a chip-hour; modelled: step = max(compute, memory, transfers beside it) + transfers waited for")
HEAD = ("topology", "batch", "fsdp", "peak GiB", "TFLOP", "compute s", "memory s", "transfers s", "step s", "images/s",
        "per chip", "utilisation", "bound by", "chip-hours", "cost $")


def text(plan: Plan, steps: int) -> str:
    """Several lines."""
    chip, _ = chip_of(plan.topology)
    head = f"{plan.stage} on {plan.topology}: {plan.chips} chips, {plan.batch_size:,} images a step, fsdp {plan.fsdp}"
    if plan.compiled is None:
        lines = [head, f"  does not fit: {plan.refusal} of HBM a chip (compiled)"]
        lines += [f"    {size / GIB:6.2f} GiB  {what}" for what, size in plan.refusal.largest]
        if plan.changed is None:
            return "\n".join([*lines, "  no change tried was enough: use more chips"])
        changes = " ".join(f"--config.{key}={value}" for key, value in plan.changes.items())
        return "\n".join([*lines, f"  smallest change tried that fits: {changes}", text(plan.changed, steps)])
    found, now = plan.compiled, plan.estimate
    lines = [head, f"  HBM a chip (compiled): {found.peak / GIB:.2f} of {chip.memory / GIB:.2f} GiB"]
    lines += [f"    {getattr(found, name) / GIB:6.2f} GiB  {name}"
              for name in ("parameters", "averages", "optimizer", "batch", "temporary", "code")]
    lines += ["  largest arrays (compiled)"] + [f"    {size / GIB:6.2f} GiB  {what}" for what, size in found.largest]
    lines += [f"  a step and chip (compiled, loop trips multiplied): {found.counts.flops / steps / 1e12:.2f} TFLOP, "
              f"{found.counts.bytes / steps / 1e9:.1f} GB of HBM traffic, {found.counts.cycles / steps / 1e6:.1f} M cycles"]
    lines += ["  collectives a step and chip (compiled, each channel once)"]
    for kind, (times, sent, hidden) in collectives(plan).items():
        lines += [f"    {kind:<20}{times / steps:9.1f} times  {sent / steps / 1e9:8.3f} GB  {hidden:4.0%} beside computation"]
    lines += [
        f"  seconds a step (modelled): compute {now.compute:.4f} (at peak {now.peak_compute:.4f}), memory {now.memory:.4f}, "
        f"transfers beside it {now.overlapped:.4f}, waited for {now.exposed:.4f}: step {now.step:.4f}, bound by {now.bound}",
        f"  modelled: {now.images_per_second:,.0f} images/s, {now.images_per_second / plan.chips:.2f} a chip; "
        f"model FLOPs utilisation {now.utilisation:.1%}",
        f"  whole stage, {plan.images:,} images (modelled): {plan.chip_hours:,.0f} chip-hours, "
        f"${plan.chip_hours * chip.price:,.0f} (price assumed)",
        "  " + ASSUMED.format(interconnect=chip.interconnect / 1e9, price=chip.price),
        f"  compiled in {found.seconds:.0f} s",
    ]
    return "\n".join(lines)


def collectives(plan: Plan) -> dict[str, tuple[float, float, float]]:
    """{kind: (times, bytes handed on, share of them beside computation)}, of one call."""
    found = defaultdict(lambda: [0.0, 0.0, 0.0])
    for each in plan.compiled.counts.transfers:
        total = found[each.kind]
        total[0] += each.times
        total[1] += each.sent
        total[2] += each.sent * each.hidden
    return {kind: (times, sent, hidden / max(sent, 1)) for kind, (times, sent, hidden) in found.items()}


def table(plans: list[Plan], steps: int) -> str:
    """A Markdown table with a row for each plan."""
    rows = [HEAD, ("---",) * len(HEAD)]
    for plan in plans:
        chip, _ = chip_of(plan.topology)
        start = (plan.topology, f"{plan.batch_size:,}", str(plan.fsdp))
        if plan.compiled is None:
            rows.append((*start, str(plan.refusal), *("",) * (len(HEAD) - 4)))
            continue
        found, now = plan.compiled, plan.estimate
        rows.append((
            *start, f"{found.peak / GIB:.1f}", f"{found.counts.flops / steps / 1e12:.1f}", f"{now.compute:.3f}",
            f"{now.memory:.3f}", f"{now.overlapped:.3f} + {now.exposed:.3f}", f"{now.step:.3f}",
            f"{now.images_per_second:,.0f}", f"{now.images_per_second / plan.chips:.2f}", f"{now.utilisation:.1%}", now.bound,
            f"{plan.chip_hours:,.0f}", f"{plan.chip_hours * chip.price:,.0f}",
        ))
    return "\n".join("| " + " | ".join(row) + " |" for row in rows)


def record(plan: Plan, steps: int) -> dict:
    """JSON-able; the three kinds of figures apart."""
    chip, _ = chip_of(plan.topology)
    about = {"topology": plan.topology, "chips": plan.chips, "stage": plan.stage, "batch_size": plan.batch_size,
             "fsdp": plan.fsdp, "images": plan.images, "fits": plan.compiled is not None}
    if plan.compiled is None:
        return about | {"compiled": {"needed_bytes": plan.refusal.needed, "limit_bytes": plan.refusal.limit,
                                     "largest": dict(plan.refusal.largest)}, "changes": plan.changes,
                        "changed": plan.changed and record(plan.changed, steps)}
    found, now = plan.compiled, plan.estimate
    memory = {f"{name}_bytes": getattr(found, name)
              for name in ("parameters", "averages", "optimizer", "batch", "temporary", "code", "peak")}
    return about | {
        "compiled": memory | {
            "flops": found.counts.flops / steps, "bytes": found.counts.bytes / steps, "cycles": found.counts.cycles / steps,
            "collectives": {kind: {"times": times / steps, "bytes": sent / steps, "beside_computation": hidden}
                            for kind, (times, sent, hidden) in collectives(plan).items()},
            "largest": dict(found.largest), "seconds": found.seconds,
        },
        "modelled": {name: getattr(now, name) for name in ("compute", "peak_compute", "memory", "overlapped", "exposed", "step",
                                                           "images_per_second", "utilisation", "bound")}
        | {"chip_hours": plan.chip_hours, "dollars": plan.chip_hours * chip.price},
        "assumed": chip._asdict(),
    }
