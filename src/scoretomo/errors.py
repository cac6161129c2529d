"""A user's mistake, said in one sentence."""


class InputError(ValueError):
    """Something the user gave cannot be used. Its text says what was expected, what came, and what to do."""
