"""Settings of the emulated account and service, with a switch for each unconfirmed assumption.

The bounds keep the emulator itself sound: numbers are finite, and a log id stays within 63 bits.
"""

from dataclasses import field
from typing import Annotated, Literal

from pydantic import ConfigDict, Field
from pydantic.dataclasses import dataclass

MIB = 1024 * 1024  # bytes
SECRET = frozenset({"api_key", "secret_key", "bearer", "access_key", "secret_access_key"})
"""Settings whose values are never shown."""

_DAY, _YEAR = 86_400, 31_536_000

Count = Annotated[int, Field(ge=0, le=10**12)]
Secret = Annotated[str, Field(min_length=1, max_length=1000)]
Side = Annotated[int, Field(ge=1, le=100_000)]
Text = Annotated[str, Field(min_length=1, max_length=200)]
MediaType = Annotated[str, Field(max_length=200, pattern=r"^[!-.0-~]+/[!-~]([ -~]*[!-~])?$")]
Seconds = Annotated[float, Field(ge=0, le=_DAY)]
Names = Annotated[frozenset[Text], Field(strict=False)]


@dataclass(frozen=True, slots=True, config=ConfigDict(strict=True, allow_inf_nan=False, hide_input_in_errors=True))
class Settings:
    """One emulated account and service.

    Defaults are the documented behaviour or, where none is, the stricter.

    ValidationError, a ValueError, for a value of another type or out of bounds; `changed` complains more clearly.
    """

    api_key: Secret | None = field(default=None, repr=False)
    """The only API Key (client_id) accepted; None: any that is not empty."""

    secret_key: Secret | None = field(default=None, repr=False)
    """The only Secret Key (client_secret) accepted; None: any that is not empty."""

    bearer: Secret | None = field(default=None, repr=False)
    """The only key accepted as `Authorization: Bearer`; None: any that starts with `bce-v3/`."""

    access_key: Secret | None = field(default=None, repr=False)
    """The only access key accepted in BCE v1 signatures; None: the API Key, where one is set."""

    secret_access_key: Secret | None = field(default=None, repr=False)
    """The secret of BCE v1 signatures; None: the Secret Key. Where that is None too, signatures are not compared."""

    token_ends_at_question_mark: bool = True
    """Whether the access token ends at a second question mark in the address, which the official Node.js SDK sends.
    Inferred: without it that SDK could not be used."""

    qps: Annotated[float, Field(ge=0, le=1_000_000)] | None = None
    """Calls a second for each service (a new account has 2, a paid one 10); None: no limit. 0 refuses every
    call with 18, which is what an account sees that never claimed its free quota (user reports since
    2021)."""

    window: Literal["fixed", "sliding"] = "sliding"
    """Measure of a second for `qps`: calendar seconds or the last 1.0 s. Unconfirmed; sliding is the
    stricter."""

    daily: Count | None = None
    """Calls for each service and day, code 17 beyond; None: no limit."""

    total: Count | None = None
    """Calls for each service in all, code 19 beyond; None: no limit."""

    latency: Seconds = 0.0
    """Seconds that every answer takes, the token endpoint's too."""

    token_life: Annotated[int, Field(ge=1, le=100 * _YEAR)] = 30 * _DAY
    """Seconds a token lives; 30 days on the service, documented everywhere."""

    services: Names | None = None
    """The services the account's app may call, code 6 for the others; None: all."""

    models: Names | None = None
    """The EasyDL models that the app may call, code 6 for the others; None: those that are bound to it."""

    unknown_model_code: Literal[3, 6] = 6
    """Code for the name of no published EasyDL model. Unconfirmed: 6, as for a model that is not bound, or 3."""

    fetch_hosts: Names = frozenset()
    """Hosts that the emulator fetches a call's `url` from, without port; a `url` at any other gets 282112, as if its
    server had not answered."""

    seed: Annotated[int, Field(ge=-(2**63), lt=2**63)] = 0
    """Of the random parts of tokens and log ids."""

    clock_offset: Annotated[float, Field(ge=-10 * _YEAR, le=10 * _YEAR)] = 0.0
    """Seconds added to the clock, so that a test can reach tomorrow or a token's end without waiting."""

    refused_calls_take_qps: bool = False
    """Whether a call refused with 18 takes a place in the window all the same. Unconfirmed."""

    failed_calls_take_quota: bool = True
    """Whether a call answered with an error of its image counts towards `daily` and `total`. Unconfirmed:
    EasyDL's free points say yes (2021), paid OCR calls say no."""

    day_starts_at_utc: Annotated[float, Field(ge=0, lt=24)] = 16.0
    """Hour of the day, UTC, at which a new day of `daily` begins. Unconfirmed: 16, midnight in Shanghai, is
    inferred from the billing pages."""

    gateway_status: Annotated[int, Field(ge=200, le=599)] = 200
    """HTTP status of the gateway's errors, codes up to 111. Every capture shows 200; unconfirmed for some
    codes."""

    error_content_type: MediaType = "application/json;charset=UTF-8"
    """Content-Type of error answers; the documentation shows only that of success."""

    refresh_token_opens: bool = False
    """Whether the ten-year refresh token is accepted as an access token. Unconfirmed; some people try."""

    max_base64: Annotated[int, Field(ge=1, le=16 * MIB)] = 4 * MIB
    """The "4 MB" of base64 text, in bytes. Unconfirmed whether 4 x 1024 x 1024 or 4,000,000."""

    min_side: Side = 15
    """Shortest side in pixels (service pages 2019 to 2024; one overview says 20 or 30)."""

    max_side: Side = 4096
    """Longest side in pixels (service pages 2019 to 2024)."""

    max_ratio: Annotated[float, Field(ge=1, le=100_000)] | None = 3.0
    """Longest side over shortest (overview page, 2024); None: not looked at. EasyDL's prediction pages name
    none."""

    general_2024: bool = False
    """Whether advanced_general takes 8 MB and 8,192 px, as its own page of 2024 says and the others do
    not."""

    gif: bool = False
    """Whether GIF is accepted. The pages contradict each other; 216201's own text leaves it out."""

    lenient_base64: bool = False
    """Whether characters outside the alphabet are skipped: then a data-URI prefix ends in 216201, as users
    report, instead of the documented 216203."""

    entities_by_name: bool = True
    """Whether an entity of a data set is known by its name, so that sending it again replaces it. Unconfirmed."""

    equal_images_dropped: bool = True
    """Whether a data set keeps identical images once. Unconfirmed for this API: a page of BML says so."""

    @property
    def signing_key(self) -> str | None:
        """The access key that signatures must name; None: any."""
        return self.access_key or self.api_key

    @property
    def signing_secret(self) -> str | None:
        """The secret that signatures are compared by; None: they are not."""
        return self.secret_access_key or self.secret_key
