-- uses: clock
-- Reads the timeouts that are set for all processes, and what time it is.
-- KEYS: timeouts, timeout_changes
-- ARGV: the most rules to return
-- returns: {now_ms, id of the last change or 0-0, rule, value, ...}
local last = redis.call('XREVRANGE', KEYS[2], '+', '-', 'COUNT', 1)[1]
local rules = redis.call('HGETALL', KEYS[1])
return {now_ms(), last and last[1] or '0-0', unpack(rules, 1, math.min(#rules, 2 * tonumber(ARGV[1])))}
