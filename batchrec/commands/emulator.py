"""`batchrec emulator`: the emulator on a port, until it is stopped."""

import os
from collections.abc import Mapping, Sequence
from contextlib import closing
from pathlib import Path

from ..api.pasted import pasted_key
from ..console.extras import pip_install
from ..console.text import say
from ..emulator import (
    Emulator,
    FaultPlan,
    FaultPlanError,
    HostError,
    OwnModels,
    Settings,
    SettingsError,
    advice,
    best,
    changed,
    serve_forever,
)
from ..engine.own_models import damage_text
from ..engine.process import run_loop
from ..errors import JobError
from ..language import _, mark, os_reason
from ..redact import remember
from ..state.directory import models_directory

_FAKE = mark("the results are fake (mock), computed from a hash of the file")
"""Advice of the emulator, which marks no texts for the catalogue."""


def serve_emulator(
    limits: Mapping[str, object],
    key: str | None,
    secret: str | None,
    host: str,
    port: int,
    faults: Path | None,
    allowed: Sequence[str],
    typed: Sequence[str],
) -> None:
    """Serve the emulator until stopped; its URL is the first line of standard output.

    `typed`: options with a secret that were given on the command line, where every user of the machine can see them.
    Raises JobError where a setting, the fault plan or the address cannot be used.
    """
    key, secret = (text and pasted_key(text) for text in (key, secret))
    remember(*filter(None, (key, secret)))
    if typed:
        say(
            _(
                "warning: {typed}: arguments are visible in the process list; BATCHREC_EMULATOR_KEY "
                "and BATCHREC_EMULATOR_SECRET are not"
            ).format(typed=_(" and ").join(typed))
        )

    def announce(emulator: Emulator) -> None:
        print(emulator.url, flush=True)
        if emulator.exposed:
            say(
                _(
                    "warning: --host {host} is beyond loopback: other machines can use this emulator "
                    "and change its settings, and keys and images travel unencrypted"
                ).format(host=host)
            )

    values = {**limits, "api_key": key, "secret_key": secret}
    own = OwnModels(models_directory(os.environ), live=True)
    if damages := list(own.damages()):
        raise JobError(*map(damage_text, damages))
    with closing(best(own)) as answers:
        try:
            plan = FaultPlan.load(faults) if faults else None
            settings = changed(Settings(), values)
            if line := advice(answers):
                say(_("{line}; for those of a model: {command}").format(line=_(line), command=pip_install("local")))
            run_loop(lambda: serve_forever(settings, host, port, plan, announce, answers, allowed))
        except FaultPlanError as exc:
            raise JobError(*str(exc).split("\n")) from exc
        except SettingsError as exc:
            raise JobError(*(f"emulator: {line}" for line in str(exc).splitlines())) from exc
        except HostError as exc:
            raise JobError(f"--allow-host: {exc}") from exc
        except OSError as exc:
            raise JobError(
                _("{host}:{port}: {reason}; another --port, or 0 for any that is free").format(
                    host=host, port=port, reason=os_reason(exc)
                )
            ) from exc
