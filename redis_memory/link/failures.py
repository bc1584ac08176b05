"""What an error of the server or the network means, decided by its code.

redis-py's classes do not tell: a wrong password is a `ConnectionError` there, a busy server a bare
`ResponseError`. So a reply is judged by its first word, and a broken connection by what had been
sent on it.
"""

from __future__ import annotations

import re
import ssl
from collections.abc import Sequence
from typing import Any

from redis_memory.errors import (
    AccessDeniedError,
    ConfigurationError,
    CorruptValueError,
    OfflineError,
    RedisMemoryError,
    ServerRefusedError,
    UnsupportedServerError,
)

# The server is there and does not serve now; nothing was applied, and the same call may work soon.
_NOT_NOW = {
    "LOADING",
    "READONLY",
    "MASTERDOWN",
    "CLUSTERDOWN",
    "TRYAGAIN",
    "NOREPLICAS",
    "MISCONF",
    "BUSY",
}
_DENIED = {"NOAUTH", "WRONGPASS", "NOPERM"}
# inside a script the code is ERR, and the words depend on the version
_DENIED_IN_SCRIPT = ("NOPERM", "ACL failure in script", "The user executing the script can't")

# Redis 6.2 answers an error inside a script as `ERR Error running script (...): @user_script: 7:
# -READONLY You can't write ...`
_IN_A_SCRIPT = re.compile(r"^ERR Error running script.*@user_script: ?\d+: -([A-Z]+) ")

# redis-py and valkey-py take the code away from the messages of these classes, which have the same
# names in both
_CODES = {
    "NoScriptError": "NOSCRIPT",
    "ReadOnlyError": "READONLY",
    "BusyLoadingError": "LOADING",
    "NoPermissionError": "NOPERM",
    "OutOfMemoryError": "OOM",
    "AuthenticationError": "WRONGPASS",
    "MovedError": "MOVED",
    "AskError": "ASK",
    "TryAgainError": "TRYAGAIN",
    "MasterDownError": "MASTERDOWN",
    "ClusterDownError": "CLUSTERDOWN",
}
_REDIRECTIONS = {"MOVED", "ASK"}


class LinkFailureError(Exception):
    """The server could not be reached, or not now; the call may be sent again.

    `in_doubt`: it had been sent, and nobody knows whether it was applied. `hung_up`: a server that
    never answered us yet took the connection, and closed it at the first command. `timed_out`: the
    time that a call may take is over. `of_slot`: only one slot of a cluster is concerned.
    """

    def __init__(
        self,
        message: str,
        *,
        in_doubt: bool,
        hung_up: bool = False,
        timed_out: bool = False,
        of_slot: bool = False,
    ) -> None:
        super().__init__(message)
        self.of_slot = of_slot
        self.in_doubt = in_doubt
        self.hung_up = hung_up
        self.timed_out = timed_out


class ElsewhereError(ServerRefusedError):
    """Another node of the cluster serves this slot; the call was not applied.

    `place` is that node as the server names it (without a host where it has the same one), None
    where it is not known. `is_asking`: only this one call is to go there, after ASKING. `in_doubt`:
    an earlier attempt may have been applied.
    """

    def __init__(
        self, message: str, place: tuple[str, int] | None = None, *, is_asking: bool = False
    ) -> None:
        super().__init__(message)
        self.place = place
        self.is_asking = is_asking
        self.in_doubt = False


def class_names(error: Exception) -> list[str]:
    """The names of an error's classes, by which redis-py's and valkey-py's are told alike."""
    return [kind.__name__ for kind in type(error).__mro__]


def code_and_text(reply: Exception) -> tuple[str, str]:
    """Return an error reply's code and its text, whichever parser made it."""
    text = str(reply)
    for kind in class_names(reply):
        code = _CODES.get(kind)
        if code is not None and not text.startswith(code):
            return code, f"{code} {text}"
    if within := _IN_A_SCRIPT.search(text):
        return within[1], text
    return text.partition(" ")[0], text


def from_reply(reply: Exception) -> RedisMemoryError | LinkFailureError:
    """Translate an error reply; the call was not applied."""
    code, text = code_and_text(reply)
    if code in _NOT_NOW or "max number of clients" in text:
        return LinkFailureError(text, in_doubt=False, of_slot=code == "TRYAGAIN")
    if code in _REDIRECTIONS:
        return _redirection(code, text)
    if code in _DENIED or any(words in text for words in _DENIED_IN_SCRIPT):
        return AccessDeniedError(f"the server denies access: {text}")
    if code == "WRONGTYPE":
        return CorruptValueError(f"another type of key lies where a memory belongs: {text}")
    if "unknown command" in text.lower():
        # the server repeats the arguments, and a value may be among them
        named = text.partition(", with args beginning with")[0]
        return UnsupportedServerError(f"the server does not know a command it must know: {named}")
    return ServerRefusedError(f"the server refused: {text}")


def _redirection(code: str, text: str) -> ElsewhereError:
    host, _, port = text.rpartition(" ")[2].rpartition(":")
    place = ("" if host == "?" else host, int(port)) if port.isdecimal() else None
    message = f"the server is a node of a cluster (redis+cluster://), and refused: {text}"
    return ElsewhereError(message, place, is_asking=code == "ASK")


def judged(replies: Sequence[Any]) -> list[Any]:
    """Replies to the companions of a call, the errors among them translated and not raised."""
    judged: list[Any] = []
    for reply in replies:
        error = from_reply(reply) if isinstance(reply, Exception) else reply
        # what is not served now is not sent again by itself
        judged.append(OfflineError(str(error)) if isinstance(error, LinkFailureError) else error)
    return judged


def from_connecting(error: Exception, where: str) -> RedisMemoryError | LinkFailureError:
    """Translate what went wrong while a connection was made; nothing of ours was sent."""
    cause = error if isinstance(error, ssl.SSLError) else error.__context__
    # who hangs up in the middle of the handshake may just be stopping
    if isinstance(cause, ssl.SSLError) and not isinstance(cause, ssl.SSLEOFError):
        reason = getattr(cause, "verify_message", "") or getattr(cause, "reason", "")
        return ConfigurationError(
            f"no TLS connection to {where}: {reason or 'handshake failed'}; is the certificate's "
            "authority given (ssl_ca_certs=), and does the port speak TLS?"
        )
    kinds = class_names(error)
    if "InvalidResponse" in kinds or "ProtocolError" in kinds:
        return not_redis(where)
    if "AuthenticationError" in kinds:
        return AccessDeniedError(f"{where} refuses this user or password")
    if "BusyLoadingError" not in kinds and "ResponseError" in kinds:
        return from_reply(error)
    timed_out = "TimeoutError" in kinds
    return LinkFailureError(f"cannot reach {where}: {error}", in_doubt=False, timed_out=timed_out)


def from_calling(error: Exception, where: str) -> LinkFailureError:
    """Translate what went wrong between sending a call and reading its reply."""
    message = f"lost the connection to {where}: {error}"
    return LinkFailureError(message, in_doubt=True, timed_out="TimeoutError" in class_names(error))


def from_greeting(error: Exception, where: str) -> RedisMemoryError | LinkFailureError:
    """Translate what went wrong while a server was asked who it is."""
    if "ConnectionError" in class_names(error):
        return LinkFailureError(
            f"{where} closes every connection at the first command",
            in_doubt=False,
            hung_up=True,
        )
    return from_connecting(error, where)


def not_redis(where: str) -> ConfigurationError:
    """The error for a port on which something else than Redis answers."""
    return ConfigurationError(
        f"what answers at {where} does not speak the Redis protocol: is it another service, "
        "or a TLS port (rediss://)?"
    )
