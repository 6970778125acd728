"""Entry point of `batchrec` and `python -m batchrec`.

Last handler of errors: exit codes hold, and no secret is in a traceback.
"""

import os
import sys
import traceback


def main() -> None:
    """Run the command line.

    A defect ends with 70 and a traceback without secrets; anything else has its own code.
    """
    _open_what_is_closed()
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):  # a console may not be UTF-8; labels and file names are
            stream.reconfigure(encoding="utf-8", errors="backslashreplace")
    try:
        from .language import translate_typer

        translate_typer()
        from .cli import app

        app()
    except KeyboardInterrupt:  # while something is still being imported
        sys.exit(130)
    except Exception:
        import logging

        from .console.text import say
        from .language import _
        from .redact import redact

        say(*redact(traceback.format_exc()).rstrip().split("\n"), level=logging.ERROR)
        say(_("This is a defect in batchrec. Please report the lines above."), level=logging.ERROR)
        sys.exit(70)


def _open_what_is_closed() -> None:
    """A stream that was closed (`>&-`) swallows: else the next file or socket opened would get its number."""
    for name, mode in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):
        if getattr(sys, name) is None:
            setattr(sys, name, os.fdopen(os.open(os.devnull, os.O_RDWR), mode))


if __name__ == "__main__":
    main()
