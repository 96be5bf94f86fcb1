-- uses: clock
-- Decides about the retries of a page of dead letters, once, whoever asks: those named are retried when due, the
-- others stay parked. Nothing is retried into a queue that nobody has ever heard of.
-- KEYS: dlq, dlq_planned, dlq_retry, dlq_queues, queues
-- ARGV: decided up to so far or '', decided up to from now on, then for each to retry: entry id, queue, delay_ms
-- returns: how many are going to be retried; -1 somebody else has decided
if (redis.call('GET', KEYS[2]) or '') ~= ARGV[1] then return -1 end
redis.call('SET', KEYS[2], ARGV[2])
local now, planned = now_ms(), 0
for i = 3, #ARGV, 3 do
  local id, queue = ARGV[i], ARGV[i + 1]
  local is_known = redis.call('SISMEMBER', KEYS[4], queue) == 1 or redis.call('SISMEMBER', KEYS[5], queue) == 1
  if is_known and redis.call('XRANGE', KEYS[1], id, id)[1] then
    planned = planned + redis.call('ZADD', KEYS[3], now + tonumber(ARGV[i + 2]), id)
  end
end
return planned
