"""The Lua scripts of the Redis broker. Each runs alone in the server, so what it does is one step for every process.

A topic has a hash ``meta`` (``e`` epoch, ``o`` offset of the newest publication, ``r`` the run of the server that made
the epoch), a stream with its history whose entry ids are the offsets, and a hash and a sorted set of present clients.
"""

from __future__ import annotations

_EPOCH = """
-- A server that was started again, or a replica that took over, may have lost the newest publications, and would give
-- their offsets a second time. Its run id is another one, and so the epoch becomes another one.
local function epoch_of(meta, stream, fresh, ttl)
  local known = redis.call('HMGET', meta, 'e', 'r')
  local run = string.match(redis.call('INFO', 'server'), 'run_id:(%x+)') or ''
  local epoch = known[1]
  if not epoch or known[2] ~= run then
    if not epoch then redis.call('DEL', stream) end
    epoch = fresh
    redis.call('HSET', meta, 'e', epoch, 'r', run)
  end
  redis.call('EXPIRE', meta, ttl)
  return epoch
end
"""

PUBLISH = (
    _EPOCH
    + """
-- KEYS: meta, stream, idempotency key. ARGV: channel, body, size and ttl (ms) of the history, a fresh epoch, ttl of
-- meta (s), ttl of the idempotency key (ms; 0: there is none).
local once = tonumber(ARGV[7])
if once > 0 then
  local known = redis.call('HMGET', KEYS[3], 'e', 'o')
  if known[1] then return {known[1], tonumber(known[2])} end
end
local size, epoch, offset = tonumber(ARGV[3]), '', 0
if size > 0 then
  epoch = epoch_of(KEYS[1], KEYS[2], ARGV[5], ARGV[6])
  offset = redis.call('HINCRBY', KEYS[1], 'o', 1)
  local id = string.format('%.0f-0', offset)
  local added = redis.pcall('XADD', KEYS[2], 'MAXLEN', size, id, 'd', ARGV[2])
  if type(added) == 'table' and added.err then  -- a stream that is ahead of its offset: begin it anew
    redis.call('DEL', KEYS[2])
    redis.call('XADD', KEYS[2], 'MAXLEN', size, id, 'd', ARGV[2])
  end
  redis.call('PEXPIRE', KEYS[2], ARGV[4])
end
if once > 0 then
  redis.call('HSET', KEYS[3], 'e', epoch, 'o', offset)
  redis.call('PEXPIRE', KEYS[3], once)
end
redis.call('PUBLISH', ARGV[1], string.format('p%.0f %s\\n', offset, epoch) .. ARGV[2])
return {epoch, offset}
"""
)

HISTORY = (
    _EPOCH
    + """
-- KEYS: meta, stream. ARGV: a fresh epoch, ttl of meta (s), command, first and last id, limit (0: none, -1: all).
local epoch = epoch_of(KEYS[1], KEYS[2], ARGV[1], ARGV[2])
local offset = tonumber(redis.call('HGET', KEYS[1], 'o') or 0)
local limit, entries = tonumber(ARGV[6]), {}
if limit > 0 then
  entries = redis.call(ARGV[3], KEYS[2], ARGV[4], ARGV[5], 'COUNT', limit)
elseif limit < 0 then
  entries = redis.call(ARGV[3], KEYS[2], ARGV[4], ARGV[5])
end
return {epoch, offset, entries}
"""
)

_NOW = """
local time = redis.call('TIME')
local now = time[1] * 1000 + (time[2] - time[2] % 1000) / 1000

local function forget_expired(clients, expiries, number)
  local gone = redis.call('ZRANGEBYSCORE', expiries, '-inf', now, 'LIMIT', 0, number)
  if #gone > 0 then
    redis.call('HDEL', clients, unpack(gone))
    redis.call('ZREM', expiries, unpack(gone))
  end
  return #gone
end
"""

JOIN = (
    _NOW
    + """
-- KEYS: clients, their expiries. ARGV: client, JSON about it, ttl (ms), channel (empty: nothing is told), message.
forget_expired(KEYS[1], KEYS[2], 100)
local added = redis.call('HSET', KEYS[1], ARGV[1], ARGV[2])
redis.call('ZADD', KEYS[2], now + ARGV[3], ARGV[1])
redis.call('PEXPIRE', KEYS[1], ARGV[3])
redis.call('PEXPIRE', KEYS[2], ARGV[3])
if added == 1 and ARGV[4] ~= '' then redis.call('PUBLISH', ARGV[4], ARGV[5]) end
"""
)

LEAVE = """
-- KEYS: clients, their expiries. ARGV: client, channel (empty: nothing is told), message.
local removed = redis.call('HDEL', KEYS[1], ARGV[1])
redis.call('ZREM', KEYS[2], ARGV[1])
if removed == 1 and ARGV[2] ~= '' then redis.call('PUBLISH', ARGV[2], ARGV[3]) end
"""

PRESENCE = (
    _NOW
    + """
-- KEYS: clients, their expiries.
while forget_expired(KEYS[1], KEYS[2], 1000) > 0 do end
return redis.call('HGETALL', KEYS[1])
"""
)
