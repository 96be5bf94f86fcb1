-- uses: clock
-- Hands out dead letters whose retry is due. Until the claim runs out nobody else is given them, so that nobody
-- rewrites them in vain; that each is retried once is the replay's doing. Works on a full Redis: the first write
-- only frees memory.
-- KEYS: dlq, dlq_retry
-- ARGV: limit, claim_ms
-- returns: for each: {id, {field, value ...}}
redis.call('ZREM', KEYS[2], '')
local now, letters = now_ms(), {}
for _, id in ipairs(redis.call('ZRANGEBYSCORE', KEYS[2], '-inf', now, 'LIMIT', 0, tonumber(ARGV[1]))) do
  redis.call('ZADD', KEYS[2], now + tonumber(ARGV[2]), id)
  letters[#letters + 1] = redis.call('XRANGE', KEYS[1], id, id)[1]
end
return letters
