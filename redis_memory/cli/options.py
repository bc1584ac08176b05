"""The options and arguments that several commands share, and what they mean."""

from __future__ import annotations

import re
from typing import Annotated, Final

import typer

Url = Annotated[
    str | None,
    typer.Option(
        "--url",
        metavar="URL",
        show_default=False,
        help="The server. Without it REDIS_MEMORY_URL, REDIS_URL, REDIS_HOST with REDIS_PORT, or "
        "the embedded server. A password is safer in the environment than here.",
    ),
]
Prefix = Annotated[
    str | None,
    typer.Option(
        "--prefix",
        metavar="TEXT",
        show_default=False,
        help="What the keys begin with. Without it REDIS_MEMORY_PREFIX, REDIS_PREFIX, or memory:",
    ),
]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON, for programs.")]
Id = Annotated[str, typer.Argument(metavar="ID", help="The conversation.", show_default=False)]
Name = Annotated[str, typer.Argument(metavar="NAME", help="The attribute.", show_default=False)]
Where = Annotated[
    str | None,
    typer.Option(
        metavar="CONDITION",
        show_default=False,
        help="Only those for whose attributes this is true, such as 'state == \"archived\"'.",
    ),
]

_UNITS: Final = {"s": 1, "m": 60, "h": 3600, "d": 86400, "w": 7 * 86400}
_DURATION = re.compile(r"(\d+(?:\.\d+)?)([smhdw])")


def seconds(text: str | None, option: str) -> float | None:
    """How long `30d`, `12h`, `90s` or `1h30m` is.

    Raises:
        typer.BadParameter: It is none of these forms.
    """
    if text is None:
        return None
    parts = _DURATION.findall(text)
    if not parts or "".join(number + unit for number, unit in parts) != text:
        raise typer.BadParameter(
            "a duration is a number with s, m, h, d or w behind it: 90s, 12h, 30d",
            param_hint=option,
        )
    return sum(float(number) * _UNITS[unit] for number, unit in parts)
