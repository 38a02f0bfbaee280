"""The errors a user may meet. Each carries one line: what was wrong, the value, the fix.

The command line prints that line and exits with `exit_code`; a traceback is reserved for our own
bugs. Inside the package `assert` guards invariants that no input can break.
"""


class JielongError(Exception):
    """What the user gave cannot be used; nothing was lost."""

    exit_code = 1


class ConfigError(JielongError):
    """A recipe or an override names an unknown setting or a value of the wrong type."""


class DataError(JielongError):
    """A text, a record or a folder of data cannot be read as what it should be."""


class SourceUnavailableError(DataError):
    """A pinned source can neither be found in the cache nor downloaded."""


class SourceHashMismatchError(DataError):
    """A source's bytes are not those that were pinned."""


class RunDirectoryError(JielongError):
    """A run directory is missing, taken, finished, or belongs to another configuration."""


class CheckpointError(JielongError):
    """A checkpoint is missing, incomplete or altered."""


class StorageError(JielongError):
    """The disk refused a write; the unfinished file was removed."""


class WorkerLostError(JielongError):
    """A process that did a part of the work was ended from outside; what is finished is kept."""


class ContextLengthError(JielongError):
    """A prompt does not fit the model's context."""

    def __init__(self, message: str, *, tokens: int, context: int) -> None:
        super().__init__(message)
        self.tokens = tokens
        self.context = context


class TrainingDivergedError(JielongError):
    """A loss or gradient is not finite; the last checkpoint is intact."""


class StoppedError(KeyboardInterrupt):
    """A signal ended a run at a place that it goes on from; the message says how."""

    def __init__(self, message: str, signal_number: int) -> None:
        super().__init__(message)
        self.exit_code = 128 + signal_number


class InvariantError(JielongError):
    """An identity that must hold by construction does not: a bug of ours, or broken hardware."""

    exit_code = 3
