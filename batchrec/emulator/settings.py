"""What the emulated account may do, and a switch for everything that is unconfirmed about the live service."""

from dataclasses import dataclass
from typing import Literal

MIB = 1024 * 1024


@dataclass(frozen=True, slots=True)
class Settings:
    """One emulated account and service. Defaults are the documented behaviour or, where none is, the stricter."""

    api_key: str | None = None
    """The only API Key (client_id) accepted; None: any that is not empty."""

    secret_key: str | None = None
    """The only Secret Key (client_secret) accepted; None: any that is not empty."""

    bearer: str | None = None
    """The only key accepted as ``Authorization: Bearer``; None: any that starts with ``bce-v3/``."""

    qps: float | None = None
    """Calls a second for each service (a new account has 2, a paid one 10); None: no limit. 0 refuses every
    call with 18, which is what an account sees that never claimed its free quota (user reports since
    2021)."""

    window: Literal["fixed", "sliding"] = "sliding"
    """How a second is measured for `qps`: calendar seconds or the last 1.0 s. Unconfirmed; sliding is the
    stricter."""

    daily: int | None = None
    """Calls for each service and day, code 17 beyond; None: no limit."""

    total: int | None = None
    """Calls for each service in all, code 19 beyond; None: no limit."""

    latency: float = 0.0
    """Seconds that every answer takes, the token endpoint's too."""

    token_life: int = 2_592_000
    """Seconds a token lives; 30 days on the service, documented everywhere."""

    services: frozenset[str] | None = None
    """The services the account's app may call, code 6 for the others; None: all."""

    models: frozenset[str] | None = None
    """The EasyDL models bound to the app, code 6 for the others; None: every name is a model."""

    seed: int = 0
    """Of the random parts of tokens and log ids."""

    clock_offset: float = 0.0
    """Seconds added to the clock, so that a test can reach tomorrow or a token's end without waiting."""

    refused_calls_take_qps: bool = False
    """Whether a call refused with 18 takes a place in the window all the same. Unconfirmed."""

    failed_calls_take_quota: bool = True
    """Whether a call answered with an error of its image counts towards `daily` and `total`. Unconfirmed:
    EasyDL's free points say yes (2021), paid OCR calls say no."""

    day_starts_at_utc: float = 16.0
    """Hour of the day, UTC, at which a new day of `daily` begins. Unconfirmed: 16, midnight in Shanghai, is
    inferred from the billing pages."""

    gateway_status: int = 200
    """HTTP status of the gateway's errors, codes up to 111. Every capture shows 200; unconfirmed for some
    codes."""

    error_content_type: str = "application/json;charset=UTF-8"
    """Content-Type of error answers; the documentation shows only that of success."""

    refresh_token_opens: bool = False
    """Whether the ten-year refresh token is accepted as an access token. Unconfirmed; some people try."""

    max_base64: int = 4 * MIB
    """The "4 MB" of base64 text, in bytes. Unconfirmed whether 4 x 1024 x 1024 or 4,000,000."""

    min_side: int = 15
    """Shortest side in pixels (service pages 2019 to 2024; one overview says 20 or 30)."""

    max_side: int = 4096
    """Longest side in pixels (service pages 2019 to 2024)."""

    max_ratio: float | None = 3.0
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

    def __post_init__(self) -> None:
        """Refuse what no account can have, naming the setting."""
        for name in ("qps", "daily", "total", "latency", "min_side"):
            value = getattr(self, name)
            if value is not None and value < 0:
                raise ValueError(f"{name} must not be negative, got {value!r}")
        for name in ("token_life", "max_base64", "max_side", "max_ratio"):
            value = getattr(self, name)
            if value is not None and value <= 0:
                raise ValueError(f"{name} must be positive, got {value!r}")
        if self.window not in ("fixed", "sliding"):
            raise ValueError(f"window must be 'fixed' or 'sliding', got {self.window!r}")
