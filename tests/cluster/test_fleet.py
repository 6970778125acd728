"""Workers and messages of a Ray cluster, without one: errors of Ray, workers that are lost, nodes that join late."""

import errno
import os
import sys

import pytest

if sys.platform != "linux":
    pytest.skip("Ray's clusters are of Linux machines", allow_module_level=True)

from ray.exceptions import (
    ActorDiedError,
    ActorUnschedulableError,
    NodeDiedError,
    OutOfMemoryError,
    RayActorError,
    RayError,
    RayTaskError,
)

from batchrec.cluster.client import ShardLost
from batchrec.cluster.messages import heard
from batchrec.errors import BatchrecError, JobError, OutputFailed, ServiceUnavailable


async def told(error: Exception) -> BaseException:
    """What becomes of an error of Ray."""

    async def reply() -> None:
        raise error

    try:
        await heard(reply())
    except Exception as found:
        return found
    raise AssertionError("it is none")


def raised_there(cause: Exception) -> Exception:
    """The error of Ray for one that an actor's method has raised, as a caller gets it."""
    told: Exception = RayTaskError("work", "Traceback", cause).as_instanceof_cause()
    return told


@pytest.mark.parametrize(
    "error",
    [
        ActorDiedError(),
        OutOfMemoryError("killed by the memory monitor"),
        ActorUnschedulableError("the node has left"),
        NodeDiedError("gone"),
        raised_there(RayActorError()),
    ],
)
async def test_every_end_of_a_process_loses_its_shards(error: RayError) -> None:
    """Whatever class Ray has for it: the driver hands them out again."""
    assert isinstance(await told(error), ShardLost)


async def test_errors_of_an_actor_are_ours() -> None:
    """Our own as they were raised, the system's as what could not be written; an actor that did not begin with 69."""
    mine = JobError("no")
    assert await told(raised_there(mine)) is mine
    full = OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), "/tmp/batchrec-1/state")
    written = await told(raised_there(full))
    assert isinstance(written, OutputFailed)
    assert str(written).startswith("/tmp/batchrec-1/state: cannot be written: No space left on device")
    begun = RayActorError(error_msg="in __init__\nModuleNotFoundError: no batchrec\n", actor_init_failed=True)
    assert str(await told(begun)) == "ModuleNotFoundError: no batchrec"
    assert isinstance(await told(begun), ServiceUnavailable)


async def test_a_defect_of_an_actor_stays_one() -> None:
    """It is no shard that is lost: the next worker would have it too."""
    assert not isinstance(await told(raised_there(KeyError("x"))), BatchrecError)
