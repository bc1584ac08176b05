"""Which driver, which desk, for the async face: as `kinds`."""

from __future__ import annotations

from typing import Any

from redis_memory.link.async_desk import AsyncDesk
from redis_memory.link.async_driver import AsyncDriver
from redis_memory.settings import Settings
from redis_memory.telemetry.switch import is_on


def async_driver_kind(settings: Settings) -> type[AsyncDriver]:
    """The driver of an async memory."""
    if not is_on(settings):
        return AsyncDriver
    from redis_memory.telemetry.drivers import MeasuredAsyncDriver  # noqa: PLC0415 - optional

    return MeasuredAsyncDriver


def async_desk(settings: Settings, client: Any) -> AsyncDesk:
    """Who runs the courses of an async directory.

    Raises:
        ConfigurationError: The url cannot work.
    """
    if not is_on(settings):
        return AsyncDesk(settings, client)
    from redis_memory.telemetry.drivers import MeasuredAsyncDesk  # noqa: PLC0415 - optional

    return MeasuredAsyncDesk(settings, client)
