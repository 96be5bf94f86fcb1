-- uses: clock message receipt places groups burial bound accept excess
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
local raw, once, to = ARGV[6], select(5, unpack(KEYS)), destination()
local room = room_in(to, KEYS[3], ARGV[9], ARGV[10])
local refuses = room.when_full == 'reject' or room.when_full == 'block'
if room.excess > 0 and refuses and not is_repeat(to.prefix, raw, once) then
  if room.when_full == 'block' then redis.call('HSET', KEYS[3], 'senders', 1) end
  return {room.when_full == 'block' and -2 or -1, room.waiting, 0, room.bound, room.halt}
end
local accepted, buried = accept(to, raw, {unpack(ARGV, 11)}, once, tonumber(ARGV[7])), {}
if not room.is_there then redis.call('HSET', KEYS[3], 'bound', ARGV[9], 'when_full', ARGV[10]) end
redis.call('SADD', KEYS[4], ARGV[8])
if accepted == 1 and room.excess > 0 then buried = bury_excess(room, 100) end
local waiting, news = fill_of(room)
return {accepted, waiting, news, room.bound, room.halt, unpack(buried)}
