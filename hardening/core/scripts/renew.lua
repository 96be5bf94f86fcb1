-- uses: clock
-- Renews a lease. Works on a full Redis: the first write only frees memory.
-- KEYS: leases, members, nodes, owners, monitor_owed
-- ARGV: consumer, ttl_ms, 1 to join, what the member says of itself, the name that Celery gives it or ''
-- returns: 1 renewed, 2 renewed and there are monitors to look after, -1 the lease was taken away
redis.call('ZREM', KEYS[1], '')
if ARGV[3] ~= '1' and not redis.call('ZSCORE', KEYS[1], ARGV[1]) then return -1 end
redis.call('ZADD', KEYS[1], now_ms() + tonumber(ARGV[2]), ARGV[1])
redis.call('HSET', KEYS[2], ARGV[1], ARGV[4])
if ARGV[5] ~= '' then redis.call('HSET', KEYS[3], ARGV[5], ARGV[1]) end
return redis.call('EXISTS', KEYS[4], KEYS[5]) > 0 and 2 or 1
