"""Exit codes: short meaning for the page of help, and advice for `batchrec errors`."""

from dataclasses import dataclass

from ..language import mark


@dataclass(frozen=True, slots=True)
class ExitCode:
    """An exit code. `meaning` and `advice` are translated where they are shown."""

    number: int
    meaning: str
    advice: str


EXIT_CODES: dict[int, ExitCode] = {
    code.number: code
    for code in (
        ExitCode(
            0,
            mark("nothing failed in this run"),
            mark("nothing; the last lines name images that remain and failures of earlier runs"),
        ),
        ExitCode(
            1,
            mark("images failed in this run"),
            mark("see failures.jsonl in the output directory; --retry-failed tries them again"),
        ),
        ExitCode(
            2,
            mark("the command line or the job file is wrong; nothing was sent"),
            mark("correct what the lines on standard error name"),
        ),
        ExitCode(
            66,
            mark("there is no image at all"),
            mark("check input.paths; input.allow_empty = true makes this exit code 0"),
        ),
        ExitCode(
            69,
            mark("the service cannot be reached or keeps failing"),
            mark("correct what the last lines name, or run the same command again later; the results so far are saved"),
        ),
        ExitCode(
            70,
            mark("a defect in batchrec"),
            mark("report the lines on standard error; the results so far are saved"),
        ),
        ExitCode(
            73,
            mark("another run holds the output directory"),
            mark("wait for it or stop it; batchrec status shows its progress"),
        ),
        ExitCode(
            74,
            mark("an output cannot be written, or the images went away during the run"),
            mark("check disk space, permissions and mounts, then run the same command again"),
        ),
        ExitCode(
            75,
            mark("a daily or total limit is reached"),
            mark(
                "run the same command again after resume_at, which summary.json and the last lines give; at a total "
                "limit raise limits.total, or buy more and run `batchrec quota open`"
            ),
        ),
        ExitCode(
            77,
            mark("the credentials were refused, or a service is not permitted"),
            mark("check the key with batchrec login, and the services of the application in the console"),
        ),
        ExitCode(
            129,
            mark("interrupted: the terminal was closed (SIGHUP)"),
            mark("run the same command again; under nohup a run goes on"),
        ),
        ExitCode(
            130,
            mark("interrupted by Ctrl-C (SIGINT)"),
            mark("run the same command again; the results so far are saved"),
        ),
        ExitCode(
            143,
            mark("interrupted by SIGTERM"),
            mark("run the same command again; the results so far are saved"),
        ),
    )
}
"""Every exit code, in the order of their numbers."""
