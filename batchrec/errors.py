"""batchrec's own exceptions: what ends a run or a command. Each carries the exit code of the contract.

    BatchrecError
    ├── JobError               2   the command line, the job file, a manifest or the credentials file is wrong
    │   └── WrongEndpoint      2   the credentials must not be sent to the job's endpoint
    ├── NoImages              66   there is no image at all
    ├── DirectoryBusy         73   another run holds the output directory
    ├── OutputFailed          74   an output cannot be written
    ├── InputsGone            74   the images cannot be read any more
    ├── ResultsDamaged        74   results.jsonl is shorter than what was committed
    ├── CredentialsRefused    77   the service does not take the key
    ├── ServiceUnavailable    69   the service cannot be reached, or fails or refuses for everybody
    └── Interrupted          130   a signal came before anything was sent

An image's failure is none of these: it is a value (`model.Failure`).
"""

EXIT_ORDER = (2, 70, 66, 73, 74, 77, 69, 75, 129, 130, 143, 1, 0)
"""Exit codes by precedence: of several that hold, the first of these is taken."""


class BatchrecError(Exception):
    """Base of all; its text is for the user as it stands. `exit_code` is what the command ends with."""

    exit_code = 70

    def outranks(self, other: "BatchrecError | None") -> bool:
        """Whether a run that met both ends with this one's exit code."""
        return other is None or EXIT_ORDER.index(self.exit_code) < EXIT_ORDER.index(other.exit_code)


class JobError(BatchrecError):
    """Input of the user is wrong; nothing was sent. `complaints` are the lines to show, each complete."""

    exit_code = 2

    def __init__(self, *complaints: str) -> None:
        super().__init__("\n".join(complaints))
        self.complaints = complaints


class WrongEndpoint(JobError):
    """The job's endpoint is not one that these credentials may be sent to. Nothing was opened or sent."""


class NoImages(BatchrecError):
    """The job has no image at all. Nothing was sent."""

    exit_code = 66


class DirectoryBusy(BatchrecError):
    """Another run holds the output directory. Wait for it, or stop it."""

    exit_code = 73


class OutputFailed(BatchrecError):
    """An output cannot be written: the disk is full, or the folder is read-only.

    What was committed is safe.
    """

    exit_code = 74


class InputsGone(BatchrecError):
    """The inputs went away in mid-run: their folder, or its disk.

    Run again when it is back; answers are saved.
    """

    exit_code = 74


class ResultsDamaged(OutputFailed):
    """results.jsonl lacks answers that were committed. Put the file back, or run again with --rebuild."""


class CredentialsRefused(BatchrecError):
    """The service does not take the key and secret, or the API Key. Check them with `batchrec login`."""

    exit_code = 77


class ServiceUnavailable(BatchrecError):
    """The service cannot be reached, or fails or refuses for everybody.

    Run again later; answers are saved.
    """

    exit_code = 69


class Interrupted(BatchrecError):
    """A signal came while the inputs were being listed. Nothing was sent."""

    exit_code = 130
