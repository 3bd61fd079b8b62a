"""The errors that a user meets: one line each, what was wrong and what to do."""


class LandscapeError(Exception):
    """Work that started could not be finished; the command line exits with 1."""


class InputError(LandscapeError, ValueError):
    """The request itself was wrong; nothing was started and the command line exits with 2."""


class TrainingError(LandscapeError):
    """Training produced a loss or gradient that is not finite."""


class NotFiniteError(LandscapeError):
    """A curvature product is infinite or NaN at some weights."""


class LandscapeWarning(UserWarning):
    """What a number is not, or could not be checked for; the number is given all the same."""
