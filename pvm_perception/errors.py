"""The one error that users see as a single line."""


class PvmError(ValueError):
    """Bad input from a person: says in one line what was wrong and what to do.

    The command line prints it to stderr and exits with 2; the node logs it and goes on.
    """
