-- uses: clock
-- A consumer goes, and takes from no queue any more. What it still holds, if anything, is left to be recovered at
-- once.
-- KEYS: leases, dead, members, inflight, started, consuming
-- ARGV: consumer
-- returns: how many messages it left behind
redis.call('DEL', KEYS[6])
local left = redis.call('HLEN', KEYS[4])
if redis.call('ZREM', KEYS[1], ARGV[1]) == 1 and left > 0 then
  redis.call('ZADD', KEYS[2], now_ms(), ARGV[1])
elseif left == 0 then
  redis.call('DEL', KEYS[5])
  redis.call('HDEL', KEYS[3], ARGV[1])
end
return left
