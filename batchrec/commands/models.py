"""`batchrec dataset versions`, `publish`, `bind` and `unbind`: models trained on this machine."""

import os
from typing import Any, NamedTuple

import orjson

from ..console.output import printing
from ..console.text import say
from ..datasets.versions import Model
from ..engine.own_models import head_damage
from ..errors import JobError
from ..language import _, ngettext
from ..redact import visible
from ..state.directory import models_directory


class _Row(NamedTuple):
    """A version as it is listed. `damage` names a file that cannot be used, and says why."""

    version: str
    origin: dict[str, Any]
    evaluation: dict[str, Any] | None
    damage: str | None = None


def show_versions(name: str, *, json: bool) -> None:
    """Print the versions of a model. Raises JobError where there is none."""
    model = Model(models_directory(os.environ), name)
    versions = model.check_there()
    state = model.state()
    found = [_row_of(model, version) for version in versions]
    with printing():
        if json:
            print(
                orjson.dumps(
                    {
                        "model": name,
                        "service": state.service,
                        "method": state.method,
                        "published": state.published or None,
                        "bound": state.bound,
                        "versions": [
                            {"version": row.version, **row.origin, "evaluation": row.evaluation, "damaged": row.damage}
                            for row in found
                        ],
                    },
                    option=orjson.OPT_INDENT_2,
                ).decode()
            )
            return
        for row in found:
            print(_line_of(row, published=row.version == state.published))
        apps = ", ".join(state.bound) or _("no application: calls get error code 6")
        print(_("bound to: {apps}").format(apps=visible(apps)))


def publish(name: str, version: str) -> None:
    """Have a version answer under the model's name. Raises JobError where there is none of that name."""
    model = Model(models_directory(os.environ), name)
    model.publish(version)
    say(_("{name}: {version} is published").format(name=name, version=version))
    if not model.state().bound:
        say(_("no application may call it yet; bind one: batchrec dataset bind {name} --app APPID").format(name=name))


def bind(name: str, app: str) -> None:
    """Let an application call a model."""
    Model(models_directory(os.environ), name).bind(app)
    say(_("{name}: application {app} may call it").format(name=name, app=app))


def unbind(name: str) -> None:
    """Let no application call a model any more."""
    Model(models_directory(os.environ), name).unbind()
    say(_("{name}: no application may call it; calls get error code 6").format(name=name))


def _row_of(model: Model, version: str) -> _Row:
    origin: dict[str, Any] = {}
    folder = model.path(version, "head.npz").parent
    try:
        origin = model.read(version, "version.json")
        evaluation = model.read(version, "evaluation.json")
        _facts(origin, evaluation)
    except JobError as error:
        return _Row(version, origin, None, str(error))
    except (LookupError, TypeError, ValueError):
        return _Row(version, {}, None, _("{folder}: version.json or evaluation.json lacks facts").format(folder=folder))
    return _Row(version, origin, evaluation, head_damage(model.path(version, "head.npz")) or None)


def _line_of(row: _Row, *, published: bool) -> str:
    facts = (_("damaged: {reason}").format(reason=row.damage),) if row.damage else _facts(row.origin, row.evaluation)
    return visible("  ".join((row.version, *facts, *((_("published"),) if published else ()))))


def _facts(origin: dict[str, Any], evaluation: dict[str, Any] | None) -> tuple[str, ...]:
    """Date, images, classes and accuracy.

    Raises LookupError, TypeError, ValueError where they are no such facts.
    """
    if evaluation is None:
        figure = _("not evaluated")
    elif "ap50" in evaluation:
        figure = f"AP50 {evaluation['ap50']:.3f}"
    else:
        figure = _("accuracy {share:.3f}").format(share=evaluation["accuracy"]["value"])
    return (
        str(origin["created_at"]),
        ngettext("{count:,} image", "{count:,} images", origin["images"]).format(count=origin["images"]),
        ngettext("{count:,} class", "{count:,} classes", len(origin["classes"])).format(count=len(origin["classes"])),
        figure,
    )
