-- uses: clock message receipt places groups burial slot
-- Moves a slot that cannot be sent to the dead-letter queue, and its entry to the next slot. In the ledger it counts
-- as published and dead. Works on a full Redis: the first write only frees memory.
-- KEYS: list, beat_leader, beat_names, beat_due, beat_entry, beat_history
-- ARGV: prefix, ttl_ms, worker, raw, token, name, revision, owed, slot, next, most, error, traceback, fingerprint
-- returns: id of the dead letter; or '' the entry has changed, or this is not the leader
local keys = {names = KEYS[3], due = KEYS[4], entry = KEYS[5], history = KEYS[6]}
if not leads(KEYS[2], ARGV[5]) or not owes(keys.entry, ARGV[7], ARGV[8]) then return '' end
redis.call('HDEL', keys.entry, '')
local letter = to_dlq(ARGV[1], ARGV[2], KEYS[1], ARGV[4], ARGV[3], {reason = 'schedule_failed', error = ARGV[12],
  traceback = ARGV[13], fingerprint = ARGV[14], kept = true})
count(ARGV[1], 'published', 1)
redis.call('HSET', keys.entry, 'sent_ms', ARGV[9])
advance(keys, ARGV[6], ARGV[10])
remember(keys.history, tonumber(ARGV[11]), 'buried', ARGV[9], letter)
return letter
