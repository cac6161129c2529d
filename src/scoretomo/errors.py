"""What goes wrong outside the program, in one sentence."""


class InputError(ValueError):
    """Something the user gave cannot be used. Its text has what was expected, what came, and what to do."""


class WorkerError(RuntimeError):
    """A worker process ended without an error message, as it does when memory runs out."""


class NoVolumesError(RuntimeError):
    """A run came to its end without a single volume. Its text has the reason, and what to do."""
