-- uses: clock message receipt places accept
-- Puts a new message with a receipt on each of several queues, or holds it until it is due. A recipient may ask for a
-- live consumer: one whose lease has not run out, and who takes from the queue at this moment. With `all`, one
-- recipient that is refused means that nothing is published. Everything that could fail half-way is looked at before
-- the first write. Safe to repeat: what has a receipt was published, and a refusal is remembered for ten minutes on
-- the receipt, so that a repeat is told the same, also when it comes to Redis before the attempt whose repeat it is.
-- KEYS: leases, queues, then the list of each recipient
-- ARGV: prefix, receipt_ttl_ms, worker, due_ms (0: now), task, guarantee, all (1 or 0), then for each recipient:
--   queue, 1 if it asks for a live consumer, raw
-- returns: {how many were published by this call, then for each that was refused: its number from 1, why}
local prefix, all, fresh, refused, unheard, out = ARGV[1], ARGV[7] == '1', {}, {}, {}, {0}
for at = 1, #KEYS - 2 do
  local queue, asks, raw = unpack(ARGV, 3 * at + 5, 3 * at + 7)
  local kept = redis.call('HMGET', prefix .. ':delivery:' .. receipt_id(raw), 'state', 'refused')
  local kind = redis.call('TYPE', KEYS[at + 2]).ok
  refused[at] = kept[2]
  if not kept[1] and not kept[2] then
    fresh[#fresh + 1] = {at = at, queue = queue, raw = raw}
    if kind ~= 'list' and kind ~= 'none' then refused[at] = 'not_a_queue' end
    if asks == '1' and not refused[at] then unheard[#unheard + 1] = fresh[#fresh] end
  end
end
local live = #unheard > 0 and redis.call('ZRANGEBYSCORE', KEYS[1], string.format('(%.0f', now_ms()), '+inf')
for _, consumer in ipairs(live or {}) do
  local queues, left = {}, {}
  for i, one in ipairs(unheard) do queues[i] = one.queue end
  local takes = #queues > 0 and redis.call('SMISMEMBER', prefix .. ':consuming:' .. consumer, unpack(queues)) or {}
  for i, one in ipairs(unheard) do if takes[i] == 0 then left[#left + 1] = one end end
  unheard = left
end
for _, one in ipairs(unheard) do refused[one.at] = 'no_consumer' end
for at = 1, #KEYS - 2 do
  if refused[at] then
    local key = prefix .. ':delivery:' .. receipt_id(ARGV[3 * at + 7])
    redis.call('HSET', key, 'refused', refused[at])
    redis.call('PEXPIRE', key, 600000)
    out[#out + 1], out[#out + 2] = at, refused[at]
  end
end
for _, one in ipairs((all and #out > 1) and {} or fresh) do
  local to = {prefix = prefix, ttl = ARGV[2], worker = ARGV[3], queue = one.queue, due = tonumber(ARGV[4])}
  local said = {'task', ARGV[5], 'task_id', receipt_id(one.raw), 'guarantee', ARGV[6], 'queue', one.queue}
  to.list = KEYS[one.at + 2]
  if not refused[one.at] then out[1] = out[1] + accept(to, one.raw, said) end
end
return out
