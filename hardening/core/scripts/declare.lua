-- Puts a schedule entry. One whose times have not changed keeps the slot it owes. 'declare' is the leader's word for
-- what code and files say; 'add', 'update' and 'put' (either) are said at run time, each of its own entries alone.
-- KEYS: beat_leader, beat_names, beat_due, beat_bell, beat_entry
-- ARGV: verb, token or '', name, origin, owner, definition, times, fault, slot_ms
-- returns: 1 put, 0 is as it was, -1 not the leader, -2 the name is another's, -3 no such entry
local verb, name, origin = ARGV[1], ARGV[3], ARGV[4]
local is = redis.call('HMGET', KEYS[5], 'origin', 'definition', 'fault', 'times', 'slot_ms', 'paused')
local is_there = redis.call('SISMEMBER', KEYS[2], name) == 1
if verb == 'declare' and redis.call('GET', KEYS[1]) ~= ARGV[2] then return -1 end
if verb == 'update' and not is_there then return -3 end
if is_there and (verb == 'add' or (is[1] == 'runtime') ~= (origin == 'runtime')) then return -2 end
if is_there and verb == 'declare' and is[2] == ARGV[6] and is[3] == ARGV[8] then return 0 end
local slot = is_there and is[4] == ARGV[7] and is[5] or ARGV[9]
if not is_there then redis.call('DEL', KEYS[5]) end
if slot == ARGV[9] then redis.call('HDEL', KEYS[5], 'sent_ms') end
redis.call('HSET', KEYS[5], 'origin', origin, 'owner', ARGV[5], 'definition', ARGV[6], 'times', ARGV[7],
  'fault', ARGV[8], 'slot_ms', slot, 'attempts', 0, 'waits', 0, 'error', '')
redis.call('HINCRBY', KEYS[5], 'revision', 1)
redis.call('SADD', KEYS[2], name)
if ARGV[8] ~= '' or slot == '0' or is[6] == '1' then
  redis.call('ZREM', KEYS[3], name)
else
  redis.call('ZADD', KEYS[3], slot, name)
end
if redis.call('EXISTS', KEYS[4]) == 0 then redis.call('LPUSH', KEYS[4], '1') end
return 1
