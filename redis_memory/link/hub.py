"""The links to the nodes of a cluster for all threads of a process; `async_hub` is its twin."""

from __future__ import annotations

import threading
import time
from typing import Any

from redis_memory.core.calls import Call
from redis_memory.errors import OfflineError
from redis_memory.link.cluster import NodeAddress
from redis_memory.link.failures import ElsewhereError, LinkFailureError
from redis_memory.link.link import Link
from redis_memory.link.nodes import Hub, Lane, NodeCircuit
from redis_memory.link.steps import driven
from redis_memory.link.wire import Wire


class NodeLink(NodeCircuit, Link):
    """The way to one node."""

    def _again(self, call: Call, failure: LinkFailureError) -> Any:
        self.suspect()
        return super()._again(call, failure)

    def _greet(self, wire: Wire) -> None:
        super()._greet(wire)
        self.trust()

    def ask(self, call: Call) -> Any:
        """Send a call that `asking` made, in one attempt, to a node that is taking over its slot.

        Raises:
            ElsewhereError: The node has it no more, or not yet.
            OfflineError: It cannot be reached.
        """
        try:
            wire = self._idle.pop() if self._idle else self._connected()
        except LinkFailureError as failure:
            raise OfflineError(str(failure)) from failure
        try:
            wire.send(b"ASKING")
        except BaseException:  # a signal too: it may be half sent
            wire.close()
            raise
        # another thread may take it first: then the answer is `ElsewhereError` once more
        self._idle.append(wire)
        return self.execute_once(call)


class BlockingHub(Hub[NodeLink]):
    """The links of the blocking face."""

    lock: Any

    def _link(self, address: NodeAddress) -> NodeLink:
        return NodeLink(address, self.timeout_s, self.reconnect_max_s, self.replicas)

    def lane(self, memory: bytes) -> BlockingLane:
        """The way of one memory."""
        return BlockingLane(self, memory)

    def execute(self, call: Call) -> Any:
        """Send a call that belongs to no single memory, to the nodes of what it is about."""
        return driven(self._routing(call), lambda step: step[0](step[1]))

    def close(self) -> None:
        """Close the connections that are not in use, and end the search for lost nodes."""
        for link in list(self.links.values()):
            link.close()

    def after_fork(self) -> None:
        """Leave the connections, and what waits, to the parent process."""
        self.lock = threading.RLock()
        for link in self.links.values():
            link.after_fork()


class BlockingLane(Lane[NodeLink]):
    """The way of one memory to its node."""

    __slots__ = ()

    def execute(self, call: Call) -> Any:
        """As of a link."""
        if call.is_apart:
            return self.hub.execute(call)
        if call.companions:
            return self._accompanied(call, once=False)
        return self.send(call)

    def send(self, call: Call) -> Any:
        """The same for a call that has its key in the slot of the lane, as its companions have."""
        try:
            return self.link.execute(call)
        except ElsewhereError as elsewhere:
            return self._follow(call, elsewhere, once=False)

    def execute_once(self, call: Call) -> Any:
        """As of a link."""
        if call.is_apart:
            return self.hub.execute(call)
        if call.companions:
            return self._accompanied(call, once=True)
        return self._send_once(call)

    def _send_once(self, call: Call) -> Any:
        try:
            return self.link.execute_once(call)
        except ElsewhereError as elsewhere:
            return self._follow(call, elsewhere, once=True)

    def _accompanied(self, call: Call, *, once: bool) -> Any:
        answers = driven(self._beside(call), self.hub.execute)
        reply = self._send_once(call) if once else self.send(call)
        self._join(call, answers)
        return reply

    def _follow(self, call: Call, elsewhere: ElsewhereError, *, once: bool) -> Any:
        def do(step: Any) -> Any:
            if isinstance(step, (int, float)):
                return time.sleep(step)
            link, sent = step
            send = link.ask if sent is not call else link.execute
            if once and sent is call:
                send = link.execute_once
            return send(sent)

        return driven(self._following(call, elsewhere), do)

    def after_fork(self) -> None:
        """Leave the connections, and what waits, to the parent process."""
        self.hub.after_fork()
