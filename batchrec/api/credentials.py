"""Credentials of a profile, from the environment or credentials.toml."""

import hashlib
import os
import re
import shlex
import stat
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from ..errors import JobError, WrongEndpoint
from ..language import _, os_reason
from ..state.directory import config_directory
from .endpoint import EMBEDDED, LIVE, normal_endpoint
from .pasted import is_api_key, pasted, pasted_key, plain

WAYS = (("api_key", "secret_key"), ("bearer",), ("access_key", "secret_access_key"))
"""Ways to sign: the fields of a profile that each needs. They stand for a token, an API Key and BCE v1 signatures."""

_FIELDS = tuple(name for names in WAYS for name in names)

VARIABLES = {
    ("BAIDU_API_KEY", "BAIDU_SECRET_KEY"): WAYS[0],
    ("BCE_ACCESS_KEY_ID", "BCE_SECRET_ACCESS_KEY"): WAYS[2],
}
"""Variables of the environment that hold the default profile's credentials, and their fields; the first pair wins."""


@dataclass(frozen=True, slots=True)
class Credentials:
    """Credentials of a profile: the fields of one of WAYS.

    `account` names who shares its counts.

    `endpoint` is the only one they are sent to, in normal form. Those of the environment (from `variables`) may also
    go where the user's own hand sends them.
    """

    api_key: str = field(default="", repr=False)
    secret_key: str = field(default="", repr=False)
    bearer: str = field(default="", repr=False)
    access_key: str = field(default="", repr=False)
    secret_access_key: str = field(default="", repr=False)
    account: str = ""
    endpoint: str = LIVE
    variables: tuple[str, ...] = field(default=(), compare=False)

    @property
    def identity(self) -> str:
        """The account's name in quota counts: what the profile says, or a digest of its key."""
        return self.account or key_digest(self.bearer or self.access_key or self.api_key)

    @property
    def complete(self) -> bool:
        """Whether calls can be authorized with it."""
        return any(all(getattr(self, name) for name in names) for names in WAYS)

    @property
    def secrets(self) -> tuple[str, ...]:
        """Secrets, which are never written anywhere."""
        known = (self.api_key, self.secret_key, self.bearer, self.access_key, self.secret_access_key)
        return tuple(secret for secret in known if secret)


def of_fields(given: Mapping[str, str]) -> Credentials:
    """The credentials in the fields of WAYS, as they were pasted.

    An API Key (`bce-v3/...`) in the place of another key is used as what it is.
    """
    keys = {name: pasted_key(given.get(name, "")) for name in _FIELDS}
    misplaced = next(filter(is_api_key, keys.values()), "")
    found: dict[str, Any] = {"bearer": misplaced} if misplaced else {**keys}
    return Credentials(**found)


def credentials_file(environ: Mapping[str, str]) -> Path:
    """Path of credentials.toml; the file need not exist."""
    return config_directory(environ) / "credentials.toml"


def load_credentials(profile: str, environ: Mapping[str, str]) -> Credentials:
    """The credentials of a profile; for "default" the environment wins over the file. Raises JobError."""
    if profile == "default":
        for names, fields in VARIABLES.items():
            found = of_fields({field: environ.get(name, "") for name, field in zip(names, fields, strict=True)})
            if found.secrets:
                if not found.complete:
                    raise JobError(_("{names}: set both, or neither").format(names=_(" and ").join(names)))
                return replace(found, variables=names)
    path = credentials_file(environ)
    profiles = read_profiles(path)
    if profile not in profiles:
        known = ", ".join(sorted(profiles)) or _("none yet")
        raise JobError(
            _(
                "{path}: there is no profile {profile!r} (there are: {known}). Run `batchrec "
                "login`, set BAIDU_API_KEY and BAIDU_SECRET_KEY, or try the job with "
                'account.endpoint = "embedded"'
            ).format(path=path, profile=profile, known=known)
        )
    return _credentials(path, profile, profiles[profile])


def check_endpoint(credentials: Credentials, profile: str, endpoint: str, *, by_hand: bool, origin: str) -> None:
    """Raise WrongEndpoint where these credentials must not be sent to `endpoint` (in normal form).

    A profile goes to its own endpoint only. Keys of the environment go to the service itself, or where the user's own
    hand names the endpoint (`by_hand`), never to a host that only a job file names: job files are shared. `origin` says
    where the endpoint was written.
    """
    if endpoint == credentials.endpoint or (credentials.variables and by_hand):
        return
    name = "NAME" if profile == "default" else shlex.quote(profile)
    login = f"`batchrec login --endpoint {shlex.quote(endpoint)} --profile {name}`"
    if profile == "default":
        login = _('{login} and account.profile = "NAME"').format(login=login)
    if credentials.variables:
        raise WrongEndpoint(
            _(
                '{origin}: account.endpoint: "{endpoint}" is named by a job file only, so '
                "{variables} are not sent there. If you trust it: set "
                "BATCHREC_ENDPOINT={quoted}, or keep a key of its own with {login}"
            ).format(
                origin=origin,
                endpoint=endpoint,
                variables=_(" and ").join(credentials.variables),
                quoted=shlex.quote(endpoint),
                login=login,
            )
        )
    raise WrongEndpoint(
        _(
            '{origin}: account.endpoint: "{endpoint}" is not the endpoint of profile '
            "{profile!r} ({own}), so its key is not sent there. If you trust it, keep a "
            "key of its own with {login}"
        ).format(origin=origin, endpoint=endpoint, profile=profile, own=credentials.endpoint, login=login)
    )


def read_profiles(path: Path, example: str = 'api_key = "..."') -> dict[str, dict[str, Any]]:
    """The tables of a file of secrets, empty where there is none. `example` is of its content.

    Raises JobError if it is not this user's alone.
    """
    try:
        with open(path, encoding="utf-8-sig", opener=_open_at_once) as file:
            if complaint := _not_private(os.fstat(file.fileno()), path):
                raise JobError(f"{path}: {complaint}")
            tables = _tables(file.read())
    except FileNotFoundError:
        return {}
    except OSError as exc:
        raise JobError(f"{path}: {os_reason(exc)}") from exc
    except tomllib.TOMLDecodeError as exc:
        place = re.search(r"at line (\d+), column (\d+)", str(exc))
        where = _("line {line}, column {column}").format(line=place[1], column=place[2]) + " " if place else ""
        raise JobError(
            _("{path}: {where}is not TOML (its content is not shown); expected: {example}").format(
                path=path, where=where, example=example
            )
        ) from None
    except UnicodeDecodeError:
        raise JobError(
            _("{path}: is not TOML in UTF-8 (its content is not shown); save it as UTF-8").format(path=path)
        ) from None
    return {name: table for name, table in tables.items() if isinstance(table, dict)}


def _tables(text: str) -> dict[str, Any]:
    """The tables of a TOML text, whose quotes may be those of a word processor."""
    try:
        return tomllib.loads(text)
    except tomllib.TOMLDecodeError:
        return tomllib.loads(plain(text))


def _open_at_once(path: str, flags: int) -> int:
    """Open a file; a pipe does not wait for its writer."""
    return os.open(path, flags | getattr(os, "O_NONBLOCK", 0))


def _not_private(status: os.stat_result, path: Path) -> str:
    """Reason why an open file cannot be trusted with keys, and the remedy; empty where it can."""
    if not stat.S_ISREG(status.st_mode):
        return _("is not a regular file, but a pipe or a device")
    if os.name == "nt":  # Windows has access lists instead, and shows every file as readable by all
        return ""
    if status.st_uid != os.geteuid():
        return _("belongs to another user (uid {uid}); run: chown {own} {path}").format(
            uid=status.st_uid, own=os.geteuid(), path=shlex.quote(str(path))
        )
    if status.st_mode & (stat.S_IRWXG | stat.S_IRWXO):
        return _("others can read it; run: chmod 600 {path}").format(path=shlex.quote(str(path)))
    return ""


def _credentials(path: Path, profile: str, table: Mapping[str, object]) -> Credentials:
    known = {*_FIELDS, "account", "endpoint"}
    wrong = [name for name, value in table.items() if name not in known or not isinstance(value, str)]
    if wrong:
        raise JobError(
            _("{path}: [{profile}] has {wrong}; expected text for {names}").format(
                path=path, profile=profile, wrong=", ".join(wrong), names=", ".join(sorted(known))
            )
        )
    texts = {name: str(value) for name, value in table.items()}
    try:
        texts["endpoint"] = real_endpoint(texts.get("endpoint", LIVE))
    except ValueError as exc:
        text = _("{path}: [{profile}] endpoint: {problem}").format(path=path, profile=profile, problem=exc)
        raise JobError(text) from None
    credentials = replace(of_fields(texts), account=texts.get("account", ""), endpoint=texts["endpoint"])
    if not credentials.complete:
        ways = _(", or ").join(_(" and ").join(names) for names in WAYS)
        raise JobError(_("{path}: [{profile}] needs {ways}").format(path=path, profile=profile, ways=ways))
    return credentials


def real_endpoint(text: str) -> str:
    """The normal form of an endpoint that keys can belong to. Raises ValueError as `normal_endpoint` does."""
    text = pasted(text)
    if text == EMBEDDED:
        raise ValueError(_('is "embedded", which needs no key'))
    return normal_endpoint(text)


def key_digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:16]
