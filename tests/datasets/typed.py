"""Commands as they are typed, in this process."""

from typer.testing import CliRunner, Result

from batchrec.cli import app


def typed(*words: str) -> Result:
    """Run a command; the result has exit code, standard output and standard error."""
    done = CliRunner().invoke(app, words)
    if done.exception is not None and not isinstance(done.exception, SystemExit):
        raise done.exception
    return done
