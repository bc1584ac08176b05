"""Trying out what a user of Redis may do, in one step that leaves nothing behind."""

from __future__ import annotations

from typing import Final

# What the scripts of the library call (`rights.SCRIPTS`), with arguments that do no harm to a key
# which nobody uses. The ones that delete come first: who may not delete is not let create.
COMMANDS: Final = (
    "del KEY",
    "unlink KEY",
    "exists KEY",
    "expire KEY 60",
    "persist KEY",
    "pexpireat KEY 9999999999999",
    "pttl KEY",
    "type KEY",
    "hset KEY f 1",
    "hsetnx KEY f 1",
    "hget KEY f",
    "hgetall KEY",
    "hexists KEY f",
    "hkeys KEY",
    "hlen KEY",
    "hmget KEY f",
    "hdel KEY f",
    "rpush KEY 1",
    "lpush KEY 1",
    "lindex KEY 0",
    "linsert KEY before 1 2",
    "llen KEY",
    "lrange KEY 0 0",
    "lset KEY 0 1",
    "lrem KEY 0 x",
    "lpop KEY",
    "rpop KEY",
    "publish CHANNEL x",
    "time",
    # of no member of it: the index stays as it is
    "zadd INDEX XX 0 KEY",
    "zrem INDEX KEY",
    "zscore INDEX KEY",
)
_SOURCE: Final = b"""
local refusals = {}
for line in string.gmatch(ARGV[1], '[^\\n]+') do
    local words = {}
    for word in string.gmatch(line, '%S+') do
        if word == 'KEY' then word = KEYS[1] end
        if word == 'INDEX' then word = KEYS[2] end
        if word == 'CHANNEL' then word = ARGV[2] end
        words[#words + 1] = word
    end
    local reply = redis.pcall(unpack(words))
    if type(reply) == 'table' and reply.err then
        refusals[#refusals + 1] = words[1]
        refusals[#refusals + 1] = reply.err
        if words[1] == 'del' then return refusals end
    end
end
redis.pcall('del', KEYS[1])
return refusals
"""


def trial(key: bytes, index: bytes | None, channel: bytes) -> tuple[bytes, ...]:
    """The command that tries all of them on a key that nobody uses, and on the index.

    It answers names of commands and their errors in turns. Without an index, which may lie in
    another slot, the commands for it are left out.
    """
    wanted = [line for line in COMMANDS if index is not None or "INDEX" not in line]
    keys = (key,) if index is None else (key, index)
    lines = "\n".join(wanted).encode()
    return (b"EVAL", _SOURCE, b"%d" % len(keys), *keys, lines, channel)
