"""Whether a memory is measured: decided when it is opened, without importing OpenTelemetry."""

from __future__ import annotations

import importlib.util
import sys
from typing import Any

from redis_memory.errors import ConfigurationError
from redis_memory.settings import Settings

# What stands in the place of a provider until a program sets one, and where one wants none.
_NO_PROVIDERS = ("Proxy", "NoOp")


def is_on(settings: Settings) -> bool:
    """Are memories with these settings measured?

    With `auto`, if the program has set a provider of meters or tracers by now. Nothing is imported
    for that: a program that has, has imported OpenTelemetry too.

    Raises:
        ConfigurationError: They are to be, and OpenTelemetry is not installed.
    """
    if settings.telemetry == "off":
        return False
    if settings.telemetry == "on":
        _check_installed()
        return True
    metrics, trace = map(sys.modules.get, ("opentelemetry.metrics", "opentelemetry.trace"))
    return (metrics is not None and _is_set(metrics.get_meter_provider())) or (
        trace is not None and _is_set(trace.get_tracer_provider())
    )


def _is_set(provider: Any) -> bool:
    return not type(provider).__name__.lstrip("_").startswith(_NO_PROVIDERS)


def _check_installed() -> None:
    try:
        is_there = importlib.util.find_spec("opentelemetry.metrics") is not None
    except ImportError:  # of the package around it
        is_there = False
    if not is_there:
        raise ConfigurationError(
            "telemetry='on' needs OpenTelemetry: run pip install 'redis_memory[otel]', or leave "
            "telemetry at 'auto'"
        )
