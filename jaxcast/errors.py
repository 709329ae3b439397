"""The one exception that means: the caller's input cannot be used."""


class InputError(ValueError):
    """Bad input. The message is one line: what was expected, what came, and how to mend it.

    Entry points print it without a traceback and exit with code 2.
    """
