"""Which channels one connection listens to: what to send, and what its confirmations mean."""

from __future__ import annotations

from collections.abc import Container
from typing import Any

# How many channels one command subscribes to.
_MOST_CHANNELS = 500


class Subscriptions:
    """The channels that one connection listens to."""

    def __init__(self, number: int) -> None:
        self.number: int = number
        self.confirmed: set[bytes] = set()
        self._sent: set[bytes] = set()
        # commands for a channel that have not been confirmed yet
        self._pending: dict[bytes, int] = {}

    def commands(self, touched: set[bytes], wanted: Container[bytes]) -> list[tuple[bytes, ...]]:
        """What makes the server send what is wanted, after these channels may have changed."""
        begin = sorted(c for c in touched if c in wanted and c not in self._sent)
        end = sorted(c for c in touched if c not in wanted and c in self._sent)
        self._sent.update(begin)
        self._sent.difference_update(end)
        self.confirmed.difference_update(end)
        for channel in (*begin, *end):
            self._pending[channel] = self._pending.get(channel, 0) + 1
        return [
            (word, *channels[at : at + _MOST_CHANNELS])
            for word, channels in ((b"SUBSCRIBE", begin), (b"UNSUBSCRIBE", end))
            for at in range(0, len(channels), _MOST_CHANNELS)
        ]

    def has_confirmed(self, kind: bytes, channel: bytes) -> bool:
        """The server has done what one command asked for; is the channel listened to now?

        Not while a later command for it is on its way.
        """
        left = self._pending.get(channel, 0) - 1
        if left > 0:
            self._pending[channel] = left
            return False
        self._pending.pop(channel, None)
        if kind != b"subscribe" or channel not in self._sent:
            return False
        self.confirmed.add(channel)
        return True

    @staticmethod
    def is_pong(reply: Any) -> bool:
        """Is it the answer to a PING? Its form depends on whether there is a subscription."""
        word = reply[0] if isinstance(reply, list) and reply else reply
        return isinstance(word, bytes) and word.lower() == b"pong"
