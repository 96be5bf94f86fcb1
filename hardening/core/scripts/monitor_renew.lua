-- uses: clock
-- Renews an owner's lease, and with it the life of its monitors, and hands out the downs it has not heard of. Works on
-- a full Redis: the first write only frees memory.
-- KEYS: owners, monitors, monitor_downs
-- ARGV: owner, ttl_ms or 0: leave the lease alone, how many downs it has heard of since the last call
-- returns: {monitors it has, down ...}; a down is '<id>\31<reason>\31<at ms>\31<target>\31<how>'
redis.call('LTRIM', KEYS[3], ARGV[3], -1)
if ARGV[2] ~= '0' then
  redis.call('ZREM', KEYS[1], '')
  local is_owner = redis.call('PEXPIRE', KEYS[2], 2 * tonumber(ARGV[2])) == 1
  if is_owner then redis.call('ZADD', KEYS[1], now_ms() + tonumber(ARGV[2]), ARGV[1]) end
  redis.call('PEXPIRE', KEYS[3], 60000)
end
return {redis.call('HLEN', KEYS[2]), unpack(redis.call('LRANGE', KEYS[3], 0, 499))}
