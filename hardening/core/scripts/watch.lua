-- uses: clock
-- Reads a receipt for somebody who then waits for its next change, and has changes told of for a while.
-- KEYS: delivery, changes
-- ARGV: watch_ms
-- returns: {id of the last change told of or 0, field, value, ...}; {} when there is no such receipt
if redis.call('EXISTS', KEYS[1]) == 0 then return {} end
local until_ms = string.format('%.0f', now_ms() + ARGV[1])
redis.call('HDEL', KEYS[1], '')  -- is not there; but after a write that frees, the next passes on a full Redis
redis.call('HSET', KEYS[1], 'watched', until_ms)
local last = redis.call('XREVRANGE', KEYS[2], '+', '-', 'COUNT', 1)[1]
local reply = redis.call('HGETALL', KEYS[1])
table.insert(reply, 1, last and last[1] or '0')
return reply
