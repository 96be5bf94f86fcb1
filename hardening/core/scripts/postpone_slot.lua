-- uses: clock slot
-- A slot could not be sent: it is tried again later; or, with a fault, never, until the entry is mended. Works on a
-- full Redis: the first write only frees memory.
-- KEYS: beat_leader, beat_due, beat_entry
-- ARGV: token, name, revision, owed_ms, delay_ms, error, fault or ''
-- returns: how often it has failed, 0 the entry has changed, -1 not the leader
if not leads(KEYS[1], ARGV[1]) then return -1 end
if not owes(KEYS[3], ARGV[3], ARGV[4]) then return 0 end
redis.call('HDEL', KEYS[3], '')
redis.call('HSET', KEYS[3], 'error', ARGV[6])
if ARGV[7] == '' then
  redis.call('ZADD', KEYS[2], string.format('%.0f', now_ms() + ARGV[5]), ARGV[2])
else
  redis.call('HSET', KEYS[3], 'fault', ARGV[7])
  redis.call('ZREM', KEYS[2], ARGV[2])
end
return redis.call('HINCRBY', KEYS[3], 'attempts', 1)
