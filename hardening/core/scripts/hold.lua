-- Pauses an entry, or lets it go on with the slot given: what came due meanwhile is not owed.
-- KEYS: beat_names, beat_due, beat_bell, beat_entry
-- ARGV: name, paused (1 or 0), slot_ms
-- returns: 1 done, 0 it was so already, -3 no such entry
if redis.call('SISMEMBER', KEYS[1], ARGV[1]) == 0 then return -3 end
local is = redis.call('HMGET', KEYS[4], 'paused', 'fault', 'slot_ms')
if (is[1] or '0') == ARGV[2] then return 0 end
redis.call('HDEL', KEYS[4], 'sent_ms')
redis.call('HINCRBY', KEYS[4], 'revision', 1)
redis.call('HSET', KEYS[4], 'paused', ARGV[2])
if ARGV[2] == '1' then
  redis.call('ZREM', KEYS[2], ARGV[1])
  return 1
end
if is[3] ~= '0' then redis.call('HSET', KEYS[4], 'slot_ms', ARGV[3], 'waits', 0, 'attempts', 0) end
if is[3] ~= '0' and ARGV[3] ~= '0' and (is[2] or '') == '' then redis.call('ZADD', KEYS[2], ARGV[3], ARGV[1]) end
if redis.call('EXISTS', KEYS[3]) == 0 then redis.call('LPUSH', KEYS[3], '1') end
return 1
