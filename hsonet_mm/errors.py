"""The exception for user errors."""

__all__ = ['UserError']


class UserError(ValueError):
    """A user error: one sentence that names the problem, the file and the remedy.

    The command line prints the sentence alone, without a stack trace, and exits with code 2; in Python it is an
    ordinary :class:`ValueError`. Whatever reads what a user gives raises it for what is missing, damaged, or does not
    fit; docstrings of internals name it where there is more to say.
    """
