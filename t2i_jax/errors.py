"""The error a person can cause and mend."""


class UserError(Exception):
    """One line that says what is wrong, where, and what to do; the command line prints it and exits with code 2."""
