-- Removes a schedule entry and what is remembered of it. Only frees memory.
-- KEYS: beat_leader, beat_names, beat_due, beat_entry, beat_history
-- ARGV: token or '' at run time, name
-- returns: 1 removed, 0 no such entry, -1 not the leader, -2 it is declared by code or a file, or added at run time
if ARGV[1] ~= '' and redis.call('GET', KEYS[1]) ~= ARGV[1] then return -1 end
if redis.call('SISMEMBER', KEYS[2], ARGV[2]) == 0 then return 0 end
if (redis.call('HGET', KEYS[4], 'origin') == 'runtime') ~= (ARGV[1] == '') then return -2 end
redis.call('ZREM', KEYS[3], ARGV[2])
redis.call('SREM', KEYS[2], ARGV[2])
redis.call('DEL', KEYS[4], KEYS[5])
return 1
