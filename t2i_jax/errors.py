"""The errors that a person is shown as one line."""


class UserError(Exception):
    """One line that says what is wrong, where, and what to do; the command line prints it and exits with code 2."""


class Interrupted(UserError):
    """Nothing to mend: a process was lost or did not come, and the same command again goes on. Exit code 75."""
