-- uses: clock slot
-- Moves an entry to its next slot without sending: what it missed is not to be caught up. Works on a full Redis: the
-- first write only frees memory.
-- KEYS: beat_leader, beat_names, beat_due, beat_entry, beat_history
-- ARGV: token, name, revision, owed_ms, slot_ms (the last that was missed), next_ms, history_most
-- returns: 1 moved, 0 the entry has changed, -1 not the leader
local keys = {names = KEYS[2], due = KEYS[3], entry = KEYS[4], history = KEYS[5]}
if not leads(KEYS[1], ARGV[1]) then return -1 end
if not owes(keys.entry, ARGV[3], ARGV[4]) then return 0 end
redis.call('HDEL', keys.entry, '')
advance(keys, ARGV[2], ARGV[6])
remember(keys.history, tonumber(ARGV[7]), 'missed', ARGV[5], '')
return 1
