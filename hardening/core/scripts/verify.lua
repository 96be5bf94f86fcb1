-- uses: message
-- Reads the whole ledger at one instant. Up to `limit` queued messages are looked at, to tell those of
-- stock producers, which are not in the ledger before they are taken.
-- KEYS: counters, queues, leases, dead, scheduled, scheduled_messages, unacked, dlq, dlq_groups
-- ARGV: prefix, limit, priority steps (comma separated)
-- returns: {counters, in flight, scheduled, schedule without message, queued, seen, stock seen, unacked, letters,
--   letters in groups}
local queued, seen, stock, inflight, grouped = 0, 0, 0, 0, 0
for _, queue in ipairs(redis.call('SMEMBERS', KEYS[2])) do
  for step in string.gmatch(ARGV[3], '%d+') do
    local list = step == '0' and queue or queue .. '\6\22' .. step
    local size = redis.call('LLEN', list)
    queued = queued + size
    for from = 0, math.min(size, tonumber(ARGV[2]) - seen) - 1, 100 do
      local raws = redis.call('LRANGE', list, from, math.min(from + 99, from + tonumber(ARGV[2]) - seen - 1))
      for _, raw in ipairs(raws) do
        if not is_marked(raw) then stock = stock + 1 end
      end
      seen = seen + #raws
    end
  end
end
for _, key in ipairs({KEYS[3], KEYS[4]}) do
  for _, consumer in ipairs(redis.call('ZRANGE', key, 0, -1)) do
    inflight = inflight + redis.call('HLEN', ARGV[1] .. ':inflight:' .. consumer)
  end
end
for _, group in ipairs(redis.call('HKEYS', KEYS[9])) do
  grouped = grouped + redis.call('XLEN', ARGV[1] .. ':dlq:group:' .. group)
end
local scheduled, held = redis.call('ZCARD', KEYS[5]), redis.call('HLEN', KEYS[6])
return {redis.call('HGETALL', KEYS[1]), inflight, held, scheduled - held, queued, seen, stock,
  redis.call('HLEN', KEYS[7]), redis.call('XLEN', KEYS[8]), grouped}
