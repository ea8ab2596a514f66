"""The command line: `t2i COMMAND`; each command is one file in `commands/`, imported when it is called."""

import importlib
import os
import sys
import traceback

import click

from t2i_jax import __version__
from t2i_jax.commands.compilation_cache import keep_compiled
from t2i_jax.errors import Interrupted, UserError

COMMANDS = {
    "train": "Train a model from a config, or go on with a run.",
    "sample": "Draw pictures from prompts.",
    "evaluate": "Judge a model: figures, pictures, comparisons.",
    "compare": "Train and judge several systems side by side.",
    "export": "Write a model as one program that draws without the code that trained it.",
    "bench": "Measure training and drawing on this machine.",
    "plan": "Compile training for a TPU slice: memory, speed, cost.",
    "data": "Prepare and inspect data sets.",
}


class Commands(click.Group):
    """Subcommands imported on use, so that `t2i --help` starts no device."""

    def list_commands(self, context: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, context: click.Context, name: str) -> click.Command | None:
        if name not in COMMANDS:
            return None
        return importlib.import_module(f"t2i_jax.commands.{name}").command

    def format_commands(self, context: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl(list(COMMANDS.items()))


@click.group(cls=Commands)
@click.version_option(__version__, prog_name="t2i")
def t2i() -> None:
    """Train and use text-to-image GANs.

    A mistake in what you gave ends in one line and exit code 2; --debug, anywhere, shows where it was noticed. Exit code
    75 means: saved, run the same command again to go on.
    """


def main(arguments: list[str] | None = None) -> None:
    """Run one command and exit: 0 done, 2 a person must act, 75 may be run again as it was, 1 a fault."""
    arguments = sys.argv[1:] if arguments is None else arguments
    debug = "--debug" in arguments
    keep_compiled()
    try:
        code = t2i([argument for argument in arguments if argument != "--debug"], "t2i", standalone_mode=False)
        sys.exit(code or 0)
    except click.exceptions.NoArgsIsHelpError as error:
        print(error.format_message())
        sys.exit(2)
    except click.ClickException as error:
        _stop(error.format_message().replace("\n", " "), debug)
    except Interrupted as error:
        _stop(str(error), debug, 75)
    except UserError as error:
        _stop(str(error), debug)
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(0)
    except OSError as error:
        _stop(f"{error.filename or 'file'}: {error.strerror or error}", debug)
    except (KeyboardInterrupt, click.Abort):
        _stop("interrupted", debug)


def _stop(line: str, debug: bool, code: int = 2) -> None:
    if debug:
        traceback.print_exc()
    print(f"t2i: {line}", file=sys.stderr)
    sys.exit(code)
