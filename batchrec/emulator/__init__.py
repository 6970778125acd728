"""The service's twin: Baidu AI Cloud image recognition on a local socket, without an account.

Written from what is publicly known of the service and from nothing of the client, so that a mistake in the
client is not repeated in its own test double. `rules` decides and knows no socket, `server` speaks HTTP,
`answers` says what is on a picture. What nobody could confirm about the live service is a switch in
`Settings`.
"""

from .access import HostError
from .answers import Answers, Box, Guess, Undecodable
from .answers.choice import BuiltIn, advice, best
from .answers.own_models import Damaged, OwnModels
from .changes import SettingsError, changed
from .counters import Counters
from .faults import Fault, FaultPlan, FaultPlanError
from .images import Picture
from .server import Emulator, serve, serve_forever
from .services import SERVICES
from .settings import Settings

__all__ = [
    "SERVICES",
    "Answers",
    "Box",
    "BuiltIn",
    "Counters",
    "Damaged",
    "Emulator",
    "Fault",
    "FaultPlan",
    "FaultPlanError",
    "Guess",
    "HostError",
    "OwnModels",
    "Picture",
    "Settings",
    "SettingsError",
    "Undecodable",
    "advice",
    "best",
    "changed",
    "serve",
    "serve_forever",
]
