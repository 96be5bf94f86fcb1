-- uses: clock message receipt places version turn
-- Moves up to `limit` messages into the consumer's in-flight hash: first what has come due is put at the
-- consuming end of its list, the earliest foremost, then the lists are emptied in the order given. Not a
-- payload is parsed. Of a mailbox one message is taken, by its holder, and only when none of it is in flight.
-- KEYS: leases, inflight, seq, scheduled, scheduled_messages, crashes, then the lists
-- ARGV: prefix, receipt_ttl_ms, worker, consumer, limit
-- returns: {now_ms, ms at which to look again or 0, then for each: index of its list, seq, crashes, raw; then for each
--   mailbox that is another consumer's: index of a list, 0, 0, '', and for each of which one was taken: index of a
--   list, 0, seq, mark of the agent's version}; {-1} lease gone
local prefix, ttl, worker, limit = ARGV[1], ARGV[2], ARGV[3], tonumber(ARGV[5])
if not redis.call('ZSCORE', KEYS[1], ARGV[4]) then return {-1} end
local now = now_ms()
local out, boxes = {now, 0}, {}
local due = redis.call('ZRANGEBYSCORE', KEYS[4], '-inf', now, 'LIMIT', 0, limit)
for i = #due, 1, -1 do from_schedule(prefix, ttl, due[i], worker) end
local crashed = redis.call('EXISTS', KEYS[6]) == 1
for first = 7, #KEYS, 64 do
  local last = math.min(first + 63, #KEYS)
  local filled = redis.call('EXISTS', unpack(KEYS, first, last)) > 0
  for at = first, last do
    local list, most = KEYS[at], limit
    local box = string.byte(list) == 97 and mailbox_in(boxes, prefix, list, at - 6, ARGV[4], now)
    if box then most = filled and has_turn(prefix, list, box, now) and math.min(limit, 1) or 0 end
    if filled then
      local raws = most > 0 and redis.call('RPOP', list, most) or {}
      local seq = #raws > 0 and redis.call('INCRBY', KEYS[3], #raws) - #raws
      for i, raw in ipairs(raws) do
        redis.call('HSET', KEYS[2], seq + i, join(list, raw))
        if not is_marked(raw) then count(prefix, 'adopted', 1) end
        note(prefix, ttl, raw, 'claimed', worker)
        local n = crashed and redis.call('HGET', KEYS[6], message_id(raw)) or 0
        out[#out + 1], out[#out + 2], out[#out + 3], out[#out + 4] = at - 6, seq + i, tonumber(n), raw
      end
      if box and seq then give_turn(box, prefix, list, ARGV[4], seq + 1) end
      if (limit == 0 or seq) and redis.call('EXISTS', list) == 1 then ring(prefix, list) end
      limit = limit - #raws
    end
  end
end
out[2] = tonumber(redis.call('ZRANGE', KEYS[4], 0, 0, 'WITHSCORES')[2]) or 0
for _, box in pairs(boxes) do
  for _, part in ipairs(box and (box.given or box.is_others and {box.at, 0, 0, ''}) or {}) do out[#out + 1] = part end
  if box and box.resume > now and (out[2] == 0 or box.resume < out[2]) then out[2] = box.resume end
end
return out
