-- uses: clock permits
-- Gives a permit or a resource back, or leaves the line, and wakes who is first now. Works on a full Redis: the first
-- write only frees memory.
-- KEYS: granted, grants, waiters, waiting, grant_bell
-- ARGV: prefix, grant
-- returns: 1 it was held, 0 it was not, or no longer
redis.call('DEL', KEYS[5])
redis.call('ZREM', KEYS[3], ARGV[2])
redis.call('ZREM', KEYS[4], ARGV[2])
redis.call('HDEL', KEYS[2], ARGV[2])
local held = redis.call('ZREM', KEYS[1], ARGV[2])
remove_dead(KEYS[1], KEYS[2], KEYS[3], KEYS[4], now_ms())
wake(KEYS[3], ARGV[1], 1)
return held
