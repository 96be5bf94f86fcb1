-- uses: clock message receipt places cancellation
-- Cancels the message of a receipt, wherever it waits. The schedule knows it by its id; in its queue it is looked for,
-- from place `from` of list `at` on, among `limit` messages a call. What a consumer holds is the consumer's to give up,
-- for only that knows whether it has begun it: the request for it stands for `patience_ms`, and 0 withdraws it.
-- Works on a full Redis: the first write only frees memory. What is found is removed from the nearer end: Redis counts
-- its way there, which takes as long as it is far.
-- KEYS: delivery, scheduled, scheduled_messages, cancelling, then the lists of the queue
-- ARGV: prefix, receipt_ttl_ms, worker, asker, patience_ms, at, from, limit
-- returns: {'cancelled', place, asker, raw}, raw only the first time; {'searching', at, from} to go on from there;
--   {'astray'} not where its receipt says; otherwise {state}, {'unknown'} without a receipt
local prefix, ttl, worker, asker, patience = ARGV[1], ARGV[2], ARGV[3], ARGV[4], tonumber(ARGV[5])
local id, state, before = unpack(redis.call('HMGET', KEYS[1], 'message', 'state', 'cancelled'))
if not id then return {'unknown'} end
if before and string.sub(before, 1, #id + 1) == id .. ' ' then
  return {'cancelled', string.match(before, '(%a+) (%S*)$', #id + 2)}
end
local entry = redis.call('HGET', KEYS[3], id)
if entry then
  redis.call('ZREM', KEYS[2], id)
  redis.call('HDEL', KEYS[3], id)
  local _, raw = split(entry)
  to_nowhere(prefix, ttl, raw, worker, 'schedule', asker)
  return {'cancelled', 'schedule', asker, raw}
end
if state == 'claimed' and patience > 0 then
  redis.call('HDEL', KEYS[4], '')
  redis.call('HSET', KEYS[4], id, string.format('%.0f ', now_ms() + patience) .. asker)
  redis.call('PEXPIRE', KEYS[4], math.max(patience, redis.call('PTTL', KEYS[4])))
elseif string.match(redis.call('HGET', KEYS[4], id) or '', ' (%S*)$') == asker then
  redis.call('HDEL', KEYS[4], id)
end
if state ~= 'queued' then return {state == 'scheduled' and 'astray' or state} end
local from, left = tonumber(ARGV[7]), tonumber(ARGV[8])
for at = 5 + ARGV[6], #KEYS do
  repeat
    local raws = redis.call('LRANGE', KEYS[at], from, from + 99)
    for n, raw in ipairs(raws) do
      if string.sub(raw, 16, 51) == id and is_marked(raw) then
        local is_far = 2 * (from + n) > redis.call('LLEN', KEYS[at])
        redis.call('LREM', KEYS[at], is_far and -1 or 1, raw)
        to_nowhere(prefix, ttl, raw, worker, 'queue', asker)
        return {'cancelled', 'queue', asker, raw}
      end
    end
    from, left = from + #raws, left - #raws
    if left <= 0 then return {'searching', at - 5, from} end
  until #raws < 100
  from = 0
end
return {'astray'}
