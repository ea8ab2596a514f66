"""What a command takes where several processes run it together."""

import functools
from collections.abc import Callable

import click

from t2i_jax.errors import UserError


def clustered(command: Callable) -> Callable:
    """Give a command the options that say which of how many processes it is, and run it once they have met."""

    @click.option("--coordinator", envvar="T2I_COORDINATOR", metavar="HOST:PORT", help="Where process 0 of several listens. "
                  " [default: found on TPU pods, Slurm and Kubernetes]")
    @click.option("--processes", envvar="T2I_PROCESSES", type=click.IntRange(min=1), help="How many there are.")
    @click.option("--process", envvar="T2I_PROCESS", type=click.IntRange(min=0), help="Which of them this is, from 0.")
    @click.option("--wait", envvar="T2I_WAIT", default=300.0, show_default=True, type=click.FloatRange(min=1),
                  help="Seconds that processes wait for one that should be there.")
    @click.option("--lost", envvar="T2I_LOST", default=30.0, show_default=True, type=click.FloatRange(min=1),
                  help="Seconds of silence after which a process counts as lost and the others end, with code 75.")
    @functools.wraps(command)
    def run(*arguments, coordinator, processes, process, wait, lost, **options):
        from t2i_jax.distributed import cluster
        from t2i_jax.distributed.runtime import joined

        given = (coordinator, processes, process)
        if None in given and given != (None, None, None):
            raise UserError("--coordinator, --processes and --process belong together; give all three or none")
        limits = {"wait": wait, "lost": lost}
        found = cluster.detected(**limits) if coordinator is None else cluster.named(*given, **limits)
        with joined(found):
            return command(*arguments, **options)

    return run
