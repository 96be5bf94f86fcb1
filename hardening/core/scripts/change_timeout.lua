-- Sets a timeout for all processes, or unsets it, and wakes those who follow. Works on a full Redis: the first write
-- only frees memory. Calling it again changes nothing more.
-- KEYS: timeouts, timeout_changes
-- ARGV: rule, its value (or empty: unset it)
-- returns: the value it had, or empty
local before = redis.call('HGET', KEYS[1], ARGV[1])
redis.call('HDEL', KEYS[1], ARGV[1])
if ARGV[2] ~= '' then redis.call('HSET', KEYS[1], ARGV[1], ARGV[2]) end
redis.call('XADD', KEYS[2], 'MAXLEN', 1, '*', 'rule', ARGV[1])
return before or ''
