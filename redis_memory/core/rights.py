"""What a user of Redis must be allowed for the memories of one prefix, and nothing beyond."""

from __future__ import annotations

from typing import Final

from redis_memory.core.keys import DirectoryKeys, Keys

# What the scripts call.
SCRIPTS: Final = (
    "del exists expire hdel hexists hget hgetall hkeys hlen hmget hset hsetnx lindex linsert llen "
    "lpop lpush lrange lrem lset persist pexpireat pttl publish rpop rpush time type unlink zadd "
    "zrem zscore"
)
# What is called beside them: to run them, to see whether the server is there and who it is, to
# hear of changes, to wait for replicas, to find the nodes of a cluster, to list conversations.
AROUND: Final = (
    "evalsha eval ping hello subscribe unsubscribe wait cluster|slots asking memory|usage zcard "
    "zcount zrange zrangebyscore zrevrangebyscore"
)


def rule(prefix: str = "memory:") -> str:
    """The rights of an ACL user for the memories of one prefix, as `ACL SETUSER name` takes them.

    Keys and channels of other prefixes are out of reach, also of those that begin with this one;
    so is whatever looks at all keys, `reindex` included. The user's `on` and its password come
    before it.
    """
    # the brace ends the prefix: `shop:` does not open `shop:eu:`
    mine = f"{Keys(prefix, None).prefix}{{*"
    commands = " ".join(f"+{command}" for command in f"{AROUND} {SCRIPTS}".split())
    directory = DirectoryKeys(prefix)
    index = f"~{directory.index.decode()} ~{directory.expiring.decode()}"
    return f"resetkeys resetchannels ~{mine} {index} &{mine} -@all {commands}"
