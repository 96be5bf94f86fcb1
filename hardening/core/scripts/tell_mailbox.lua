-- uses: clock message receipt places groups burial bound accept
-- Puts a new message into a mailbox, unless that is full: then its `when_full` decides. 'reject' and 'block' refuse it,
-- and nothing is written but that somebody waits for room; 'drop_oldest' buries the foremost of the least urgent,
-- 'drop_newest' the new one, as if it had been published and died. What is not due yet waits outside. A mailbox that is
-- not there is made, with the bound and the `when_full` given. Safe to repeat, as publish is.
-- KEYS: list, queues, mailbox, agents, then idempotency (if the sender named one)
-- ARGV: prefix, receipt_ttl_ms, worker, queue, due_ms, raw, window_ms, agent, bound (0: none), when_full, then field
--   value ... of a new receipt
-- returns: {1 published, 0 was before, -1 full, -2 full and room will be told of, or the receipt that the idempotency
--   key has already; how many wait; 1 when they now are more than half the bound; the bound; why it is halted, or '';
--   then for each that was buried: {entry id, list, raw}}
local prefix, raw, once, to = ARGV[1], ARGV[6], select(5, unpack(KEYS)), destination()
local is = redis.call('HMGET', KEYS[3], 'bound', 'when_full', 'warned', 'halt')
local bound, when_full = tonumber(is[1] or ARGV[9]), is[2] or ARGV[10]
local waiting, lists = waiting_in(KEYS[1])
local excess = (bound > 0 and to.due <= now_ms()) and math.min(waiting + 1 - bound, 100) or 0
local refuses = when_full == 'reject' or when_full == 'block'
if excess > 0 and refuses and not is_repeat(prefix, raw, once) then
  if when_full == 'block' then redis.call('HSET', KEYS[3], 'senders', 1) end
  return {when_full == 'block' and -2 or -1, waiting, 0, bound, is[4] or ''}
end
local accepted = accept(to, raw, {unpack(ARGV, 11)}, once, tonumber(ARGV[7]))
local out = {accepted, 0, 0, bound, is[4] or ''}
if not is[1] then redis.call('HSET', KEYS[3], 'bound', ARGV[9], 'when_full', ARGV[10]) end
redis.call('SADD', KEYS[4], ARGV[8])
if accepted == 1 and excess > 0 then
  local death = {reason = 'mailbox_full', error = string.format('the mailbox is bound to %.0f messages', bound),
    fingerprint = 'mailbox_full', kept = true}
  for _ = 1, when_full == 'drop_newest' and 1 or excess do
    local list, dropped = drop_from(lists, when_full == 'drop_newest' and KEYS[1])
    if not is_marked(dropped) then count(prefix, 'adopted', 1) end
    out[#out + 1] = {to_dlq(prefix, ARGV[2], list, dropped, ARGV[3], death), list, dropped}
  end
  redis.call('HINCRBY', KEYS[3], 'drops', #out - 5)
  count(prefix, 'mailbox_drops', #out - 5)
end
out[2] = waiting_in(KEYS[1])
local is_warned = bound > 0 and (2 * out[2] > bound or (is[3] and 4 * out[2] > bound))
if is_warned and not is[3] then out[3] = redis.call('HSET', KEYS[3], 'warned', 1) end
if is[3] and not is_warned then redis.call('HDEL', KEYS[3], 'warned') end
return out
