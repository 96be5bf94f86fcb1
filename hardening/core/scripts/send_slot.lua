-- uses: clock message receipt places accept groups burial mailbox bound excess owner overlap slot
-- Sends one slot of an entry and moves the entry to its next, at once: a slot is sent exactly once, whoever leads.
-- With overlap 'skip' or 'queue_one' the message of the last slot must have ended, and those sent out of turn.
-- KEYS: list, queues, beat_leader, beat_names, beat_due, beat_entry, beat_history
-- ARGV: prefix, ttl_ms, worker, queue, due_ms, raw, token, name, rev, owed, slot, next, most, overlap, wait_ms, ...
--   ttl_ms: of receipts; owed, slot, next: slots in ms, next 0: none; most: of history; then field value ... (receipt)
-- returns: 1 sent, 0 it has changed, -1 not the leader, 2 dropped for the last one runs, 3 waits for it, 4 owner ended,
--   5 sent to a mailbox that has no room for it: it is dead
local keys = {names = KEYS[4], due = KEYS[5], entry = KEYS[6], history = KEYS[7]}
local prefix, name, slot, next_slot, most = ARGV[1], ARGV[8], ARGV[11], ARGV[12], tonumber(ARGV[13])
if not leads(KEYS[3], ARGV[7]) then return -1 end
local is_owed, sent = owes(keys.entry, ARGV[9], ARGV[10])
if not is_owed or tonumber(slot) <= sent or tonumber(slot) > now_ms() then return 0 end
local is = redis.call('HMGET', keys.entry, 'owner', 'receipt', 'asked')
if owner_ended(prefix, is[1]) then
  redis.call('DEL', keys.entry, keys.history)
  redis.call('ZREM', keys.due, name)
  redis.call('SREM', keys.names, name)
  return 4
end
if ARGV[14] ~= 'allow' and #unended(prefix, (is[2] or '') .. ' ' .. (is[3] or '')) > 0 then
  if ARGV[14] == 'queue_one' then
    redis.call('HSET', keys.entry, 'waits', 1)
    redis.call('ZADD', keys.due, string.format('%.0f', now_ms() + ARGV[15]), name)
    return 3
  end
  advance(keys, name, next_slot)
  remember(keys.history, most, 'overlapped', slot, '')
  return 2
end
local _, lost = post(destination(), ARGV[6], {unpack(ARGV, 16)})
local receipt = receipt_id(ARGV[6])
redis.call('HSET', keys.entry, 'sent_ms', slot, 'receipt', receipt)
advance(keys, name, next_slot)
remember(keys.history, most, 'sent', slot, receipt)
return lost == 'newest' and 5 or 1
