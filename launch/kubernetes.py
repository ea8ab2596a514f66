#!/usr/bin/env python3
"""Run one t2i command as a JobSet of Kubernetes, on a TPU slice of GKE or on GPU nodes, again until it is done.

    python launch/kubernetes.py tpu --name run --image IMAGE --accelerator tpu-v5-lite-podslice --topology 4x4 --claim shared -- train --config configs/latent_gan_256.py --workdir /shared/run
    python launch/kubernetes.py gpu --name run --image IMAGE --accelerator nvidia-h100-80gb --hosts 2 --chips 8 --claim shared -- train --config configs/latent_gan_256.py --workdir /shared/run

Assumes: kubectl speaks to a cluster that JobSet (v0.8 or newer) is installed in; the image's working directory is the
repository, with t2i_jax and jax[tpu] or jax[cuda13] installed; the claim is a volume that all pods mount at /shared, and
--workdir and the data lie there. Pods that end with 75 or crash make JobSet start all again, at most --restarts times;
exit code 2 ends the JobSet. --dry-run prints the YAML and sends nothing.
"""

import argparse
import json
import math
import re
import string
import subprocess
import sys
from pathlib import Path

TEMPLATES = Path(__file__).parent / "kubernetes"


def main(arguments: list[str] | None = None) -> int:
    options = parse(arguments)
    manifest = fill(options)
    if options.dry_run:
        print(manifest, end="")
        return 0
    return subprocess.run(["kubectl", "apply", "-f", "-"], input=manifest, text=True).returncode


def parse(arguments: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("kind", choices=["tpu", "gpu"])
    parser.add_argument("--name", required=True, help="of the JobSet")
    parser.add_argument("--image", required=True)
    parser.add_argument("--accelerator", required=True, help="node label: tpu-v5-lite-podslice, nvidia-h100-80gb, ...")
    parser.add_argument("--topology", help="of a TPU slice, for example 4x4")
    parser.add_argument("--chips", type=int, default=4, help="TPU chips or GPUs of each host")
    parser.add_argument("--hosts", type=int, help="how many; for TPUs what the topology gives")
    parser.add_argument("--claim", required=True, help="persistent volume claim that all pods mount at /shared")
    parser.add_argument("--restarts", type=int, default=100)
    parser.add_argument("--dry-run", action="store_true")
    parser.add_argument("command", nargs="+", metavar="-- COMMAND", help="of t2i, with its options")
    options = parser.parse_args(arguments)
    for name in ("name", "claim"):
        if not re.fullmatch(r"[a-z]([-a-z0-9]{0,40}[a-z0-9])?", getattr(options, name)):
            parser.error(f"--{name} {getattr(options, name)!r} is no name of Kubernetes: small letters, digits and -")
    for name in ("image", "accelerator"):
        if not re.fullmatch(r"[\w./:@-]+", getattr(options, name)):
            parser.error(f"--{name} {getattr(options, name)!r} holds what no such name does")
    if options.command[0] not in ("train", "evaluate", "sample"):
        parser.error(f"{options.command[0]!r} cannot be run by several processes; accepted: train, evaluate, sample")
    if options.kind == "tpu":
        if not options.topology or not re.fullmatch(r"\d+(x\d+){1,2}", options.topology):
            parser.error(f"--topology {options.topology!r} is not one of a TPU slice, for example 4x4 or 4x4x4")
        chips = math.prod(map(int, options.topology.split("x")))
        if options.hosts is None:
            options.hosts = max(1, chips // options.chips) if options.chips > 0 else 0
        if options.hosts * options.chips != chips:
            parser.error(f"--topology {options.topology} has {chips} chips, not {options.hosts} hosts x {options.chips}")
    if not options.hosts or options.hosts < 1 or options.chips < 1 or options.restarts < 0:
        parser.error("--hosts and --chips have to be 1 or more, --restarts 0 or more")
    return options


def fill(options: argparse.Namespace) -> str:
    """The manifest as YAML; lists stand in it as JSON, which YAML is a superset of."""
    values = vars(options) | {"command": json.dumps(["python", "-m", "t2i_jax", *options.command])}
    return string.Template((TEMPLATES / f"{options.kind}.yaml").read_text()).substitute(values)


if __name__ == "__main__":
    sys.exit(main())
