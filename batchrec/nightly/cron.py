"""Cron expressions: what cron and systemd both understand, converted from one time zone to another.

Debian's cron, busybox and systemd-cron ignore CRON_TZ, so that a line of a crontab is in the machine's zone.
"""

import re
from collections import defaultdict
from collections.abc import Iterator, Set
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta, tzinfo
from pathlib import Path
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from cronsim import CronSim, CronSimError

from ..errors import JobError
from ..language import _, mark

BEIJING_ZONE = "Asia/Shanghai"
LOCALTIME = Path("/etc/localtime")
"""The zone of the machine, and so of the cron daemon; the variable TZ is the user's own."""

_FIELDS = 5  # minute, hour, day of the month, month, weekday
_DAY_MINUTES = 24 * 60
_COMPARED_DAYS = 800
"""Two years: every clock change that a zone's rules have today comes within them."""

_WEEKDAYS = ("Sun", "Mon", "Tue", "Wed", "Thu", "Fri", "Sat")
_FULL = {"minutes": 60, "hours": 24, "days": 31, "months": 12, "weekdays": 7}
"""Members of each field that is not restricted."""


@dataclass(frozen=True, slots=True)
class Cron:
    """Times of a schedule in its zone; each field as the set of its numbers. Sunday is 0."""

    text: str
    zone: str
    minutes: frozenset[int]
    hours: frozenset[int]
    days: frozenset[int]
    months: frozenset[int]
    weekdays: frozenset[int]

    def runs(self, since: datetime, count: int) -> list[datetime]:
        """The next runs after a moment, in the schedule's zone."""
        times = CronSim(self.text, since.astimezone(zone_named(self.zone)))
        return [next(times) for _number in range(count)]

    def restricted(self, field: str) -> bool:
        """Whether a field, such as `days`, leaves anything out."""
        return len(getattr(self, field)) < _FULL[field]


def zone_named(name: str) -> ZoneInfo:
    """The time zone of a name. Raises JobError where there is none."""
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        raise JobError(
            _("--zone: {name!r} is not a time zone; expected a name such as Asia/Shanghai or UTC").format(name=name)
        ) from None


def machine_zone(path: Path = LOCALTIME) -> tuple[str, tzinfo]:
    """Name and rules of the machine's zone; UTC where the machine has none."""
    try:
        with path.open("rb") as file:
            rules = ZoneInfo.from_file(file)
    except (OSError, ValueError):
        return "UTC", UTC
    *_folders, name = str(path.resolve()).partition("zoneinfo/")
    return name or str(path), rules


_FIELDS_OF_CRONSIM = {
    "minute": mark("minute"),
    "hour": mark("hour"),
    "day-of-month": mark("day of the month"),
    "month": mark("month"),
    "day-of-week": mark("weekday"),
}
"""Fields by their names in messages of cronsim, which are `Bad {field}`."""


def _field(error: Exception) -> str:
    name = str(error).removeprefix("Bad ")
    return _(_FIELDS_OF_CRONSIM[name]) if name in _FIELDS_OF_CRONSIM else _("one of the fields")


def parse(text: str, zone: str) -> Cron:
    """The schedule that five fields of cron describe.

    Raises JobError with the reason for what not every cron and systemd understand.
    """
    fields = text.split()
    if text.strip().startswith("@"):
        raise _wrong(text, _("words such as @daily have no time of day that could be converted; write 10 0 * * *"))
    if len(fields) != _FIELDS:
        raise _wrong(
            text,
            _("{count} fields; expected five: minute, hour, day of the month, month, weekday").format(
                count=len(fields)
            ),
        )
    if re.search(r"[A-Za-z#]", fields[2]) or re.search(r"#|\dL|^L$", fields[4], re.IGNORECASE):
        raise _wrong(text, _("no cron understands L, W and #"))
    zone_named(zone)
    try:
        found = CronSim(text, datetime.now(UTC))
    except CronSimError as exc:
        raise _wrong(
            text, _("no cron expression, or a day that never comes: {field}").format(field=_field(exc))
        ) from None
    weekdays = {day % 7 for day in found.weekdays if isinstance(day, int)}
    cron = Cron(
        " ".join(fields),
        zone,
        frozenset(found.minutes),
        frozenset(found.hours),
        frozenset(found.days),
        frozenset(found.months),
        frozenset(weekdays),
    )
    if cron.restricted("days") and cron.restricted("weekdays") and "*" in (fields[2] + fields[4]):
        raise _wrong(text, _("crons disagree on a day and a weekday together, one of them with */"))
    return cron


def _wrong(text: str, reason: str) -> JobError:
    return JobError(_("--at {text!r}: {reason}").format(text=text, reason=reason))


def lines_in(cron: Cron, machine: tuple[str, tzinfo], since: datetime) -> list[str]:
    """The schedule as times of a crontab in the machine's zone, five fields each.

    Raises JobError where no line says the same: the zones change their clocks differently, or days would shift
    across the end of a month.
    """
    ahead = _minutes_ahead(cron.zone, machine, since)
    shifted: dict[int, dict[int, set[int]]] = defaultdict(lambda: defaultdict(set))
    any_day = not any(map(cron.restricted, ("days", "months", "weekdays")))
    for hour in cron.hours:
        for minute in cron.minutes:
            days, rest = divmod(hour * 60 + minute - ahead, _DAY_MINUTES)
            shifted[0 if any_day else days][rest % 60].add(rest // 60)
    if any(shifted) and (cron.restricted("days") or cron.restricted("months")):
        raise JobError(
            _(
                "--at {text!r}: in the machine's zone ({zone}) these runs are on another day, and cron cannot express "
                "days that shift across the end of a month; use --systemd, or --zone {zone}"
            ).format(text=cron.text, zone=machine[0])
        )
    return [line for days, times in sorted(shifted.items()) for line in _lines(cron, days, times)]


def _lines(cron: Cron, days: int, times: dict[int, set[int]]) -> Iterator[str]:
    """Lines for runs that are shifted by so many days: minutes of the same hours share one."""
    by_hours: dict[frozenset[int], set[int]] = defaultdict(set)
    for minute, hours in times.items():
        by_hours[frozenset(hours)].add(minute)
    rest = (
        _listed(cron.days, _FULL["days"]),
        _listed(cron.months, _FULL["months"]),
        _listed({(day + days) % 7 for day in cron.weekdays}, _FULL["weekdays"]),
    )
    for same, minutes in sorted(by_hours.items(), key=lambda pair: min(pair[1])):
        yield " ".join((_listed(minutes, _FULL["minutes"]), _listed(same, _FULL["hours"]), *rest))


def _listed(numbers: Set[int], full: int) -> str:
    return "*" if len(numbers) == full else ",".join(map(str, sorted(numbers)))


def _minutes_ahead(zone: str, machine: tuple[str, tzinfo], since: datetime) -> int:
    """Minutes by which the clocks of `zone` are ahead of the machine's, all year round."""
    rules, ahead = zone_named(zone), set()
    for hours in range(0, _COMPARED_DAYS * 24, 6):
        moment = since.astimezone(UTC) + timedelta(hours=hours)
        there, here = moment.astimezone(rules).utcoffset(), moment.astimezone(machine[1]).utcoffset()
        ahead.add(round(((there or timedelta()) - (here or timedelta())).total_seconds() / 60))
    if len(ahead) > 1:
        raise JobError(
            _(
                "--zone {zone}: its clocks and those of this machine ({machine}) do not change on the same days, so "
                "that a line of a crontab would be wrong for a part of the year; use --systemd, or --zone {machine}"
            ).format(zone=zone, machine=machine[0])
        )
    return ahead.pop()


def calendar_of(cron: Cron) -> str:
    """The schedule as OnCalendar of systemd, with its zone.

    Raises JobError for a day and a weekday together: either is enough for cron, systemd wants both.
    """
    if cron.restricted("days") and cron.restricted("weekdays"):
        raise _wrong(
            cron.text, _("a day and a weekday together mean either for cron and both for systemd; give one of them")
        )
    weekdays = ",".join(_WEEKDAYS[day] for day in sorted(cron.weekdays)) + " " if cron.restricted("weekdays") else ""
    months, days = _padded(cron.months, _FULL["months"]), _padded(cron.days, _FULL["days"])
    hours, minutes = _padded(cron.hours, _FULL["hours"]), _padded(cron.minutes, _FULL["minutes"])
    return f"{weekdays}*-{months}-{days} {hours}:{minutes}:00 {cron.zone}"


def _padded(numbers: frozenset[int], full: int) -> str:
    return "*" if len(numbers) == full else ",".join(f"{number:02}" for number in sorted(numbers))
