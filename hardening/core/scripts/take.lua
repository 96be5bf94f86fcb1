-- uses: clock message receipt places
-- Moves up to `limit` messages into the consumer's in-flight hash: first what has come due is put at the
-- consuming end of its list, the earliest foremost, then the lists are emptied in the order given. Not a
-- payload is parsed.
-- KEYS: leases, inflight, seq, scheduled, scheduled_messages, crashes, then the lists
-- ARGV: prefix, receipt_ttl_ms, worker, consumer, limit
-- returns: {now_ms, next_due_ms or 0, then for each: index of its list, seq, crashes, raw}; {-1} lease gone
local prefix, ttl, worker, limit = ARGV[1], ARGV[2], ARGV[3], tonumber(ARGV[5])
if not redis.call('ZSCORE', KEYS[1], ARGV[4]) then return {-1} end
local now = now_ms()
local out = {now, 0}
local due = redis.call('ZRANGEBYSCORE', KEYS[4], '-inf', now, 'LIMIT', 0, limit)
for i = #due, 1, -1 do
  from_schedule(prefix, ttl, due[i], worker)
end
local crashed = redis.call('EXISTS', KEYS[6]) == 1
for first = 7, #KEYS, 64 do
  local last = math.min(first + 63, #KEYS)
  local filled = redis.call('EXISTS', unpack(KEYS, first, last))
  for at = first, filled > 0 and last or 0 do
    if limit == 0 then
      if redis.call('EXISTS', KEYS[at]) == 1 then ring(prefix, KEYS[at]) end
    else
      local raws = redis.call('RPOP', KEYS[at], limit) or {}
      local seq = #raws > 0 and redis.call('INCRBY', KEYS[3], #raws) - #raws
      for i, raw in ipairs(raws) do
        redis.call('HSET', KEYS[2], seq + i, join(KEYS[at], raw))
        if not is_marked(raw) then count(prefix, 'adopted', 1) end
        note(prefix, ttl, raw, 'claimed', worker)
        local n = crashed and redis.call('HGET', KEYS[6], message_id(raw)) or 0
        out[#out + 1], out[#out + 2], out[#out + 3], out[#out + 4] = at - 6, seq + i, tonumber(n), raw
      end
      limit = limit - #raws
      if #raws > 0 and redis.call('EXISTS', KEYS[at]) == 1 then ring(prefix, KEYS[at]) end
    end
  end
end
local soonest = redis.call('ZRANGE', KEYS[4], 0, 0, 'WITHSCORES')
out[2] = tonumber(soonest[2]) or 0
return out
