"""The one exception for a user's mistake."""

__all__ = ['UserError']


class UserError(ValueError):
    """A mistake of the user's, told in one sentence that names the file and the cure.

    The command line prints the sentence alone, without a stack trace, and exits with
    code 2; in Python it is an ordinary :class:`ValueError`.
    """
