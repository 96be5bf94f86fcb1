-- uses: clock message receipt places accept slot
-- Sends one slot of an entry and moves the entry to its next, at once: a slot is sent exactly once, whoever leads.
-- With overlap 'skip' or 'queue_one' the message of the last slot must have ended.
-- KEYS: list, queues, beat_leader, beat_names, beat_due, beat_entry, beat_history
-- ARGV: prefix, ttl_ms, worker, queue, due_ms, raw, token, name, rev, owed, slot, next, most, overlap, wait_ms, ...
--   ttl_ms: of receipts; owed, slot, next: slots in ms, next 0: none; most: of history; then field value ... (receipt)
-- returns: 1 sent, 0 it has changed, -1 not the leader, 2 dropped for the last one runs, 3 waits for it, 4 owner ended
local keys = {names = KEYS[4], due = KEYS[5], entry = KEYS[6], history = KEYS[7]}
local prefix, name, slot, next_slot, most = ARGV[1], ARGV[8], ARGV[11], ARGV[12], tonumber(ARGV[13])
if not leads(KEYS[3], ARGV[7]) then return -1 end
local is_owed, sent = owes(keys.entry, ARGV[9], ARGV[10])
if not is_owed or tonumber(slot) <= sent or tonumber(slot) > now_ms() then return 0 end
local is = redis.call('HMGET', keys.entry, 'owner', 'receipt')
if is[1] and is[1] ~= '' and redis.call('EXISTS', prefix .. ':beat:owner:' .. is[1]) == 0 then
  redis.call('DEL', keys.entry, keys.history)
  redis.call('ZREM', keys.due, name)
  redis.call('SREM', keys.names, name)
  return 4
end
local state = ARGV[14] ~= 'allow' and is[2] and redis.call('HGET', prefix .. ':delivery:' .. is[2], 'state')
if state and state ~= 'acked' and state ~= 'dead' then
  if ARGV[14] == 'queue_one' then
    redis.call('HSET', keys.entry, 'waits', 1)
    redis.call('ZADD', keys.due, string.format('%.0f', now_ms() + ARGV[15]), name)
    return 3
  end
  advance(keys, name, next_slot)
  remember(keys.history, most, 'overlapped', slot, '')
  return 2
end
accept(destination(), ARGV[6], {unpack(ARGV, 16)}, nil, 0)
local receipt = receipt_id(ARGV[6])
redis.call('HSET', keys.entry, 'sent_ms', slot, 'receipt', receipt)
advance(keys, name, next_slot)
remember(keys.history, most, 'sent', slot, receipt)
return 1
