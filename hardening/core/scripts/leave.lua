-- uses: clock gone
-- A consumer goes, and takes from no queue any more. What it still holds, if anything, is left to be recovered at
-- once. Works on a full Redis: the first write only frees memory.
-- KEYS: leases, dead, members, inflight, started, consuming
-- ARGV: prefix, consumer
-- returns: how many messages it left behind
local left = redis.call('HLEN', KEYS[4])
local was_alive = redis.call('ZREM', KEYS[1], ARGV[2]) == 1
if was_alive then consumer_gone(ARGV[1], ARGV[2], 'exited') end
redis.call('DEL', KEYS[6])
if was_alive and left > 0 then
  redis.call('ZADD', KEYS[2], now_ms(), ARGV[2])
elseif left == 0 then
  redis.call('DEL', KEYS[5])
  redis.call('HDEL', KEYS[3], ARGV[2])
end
return left
