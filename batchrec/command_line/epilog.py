"""End of the page of help: exit codes and environment variables."""

from ..console.exit_codes import EXIT_CODES
from ..language import _, mark

VARIABLES = (
    ("BAIDU_API_KEY, BAIDU_SECRET_KEY", mark("the key of the default profile; it wins over `batchrec login`")),
    ("BATCHREC_ENDPOINT", mark("the endpoint, instead of the job file's")),
    ("BATCHREC_CONFIG_DIR", mark("the folder of credentials.toml")),
    ("BATCHREC_DATA_DIR", mark("the folder of trained models")),
    ("BATCHREC_STATE_DIR", mark("the folder of tokens, quota counts and the result cache")),
    ("BATCHREC_LANG", mark("the language: en or zh")),
    ("HTTPS_PROXY, NO_PROXY", mark("proxies, as usual")),
    ("SSL_CERT_FILE, NO_COLOR", mark("certificates and colours, as usual")),
)
"""Environment variables that a user meets, and their meanings."""


def epilog() -> str:
    """Blocks of lines `NAME: meaning`, each below its heading."""
    codes = [f"{code.number}: {_(code.meaning)}" for code in EXIT_CODES.values()]
    variables = [f"{name}: {_(meaning)}" for name, meaning in VARIABLES]
    details = _("`batchrec errors 75` explains an exit code, `batchrec errors 18` an error code of the service.")
    return "\n\n".join(
        (
            "\n".join((_("Exit codes:"), *codes)),
            "\n".join((_("Environment:"), *variables)),
            details,
        )
    )
