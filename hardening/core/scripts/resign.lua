-- Gives the lead away: a beat that ends tells those who stand by. Works on a full Redis: the first write only frees
-- memory.
-- KEYS: beat_leader, beat_ticks, beat_vacancy
-- ARGV: token, beat
-- returns: 1 it led, 0 it did not
redis.call('ZREM', KEYS[2], ARGV[2])
if redis.call('GET', KEYS[1]) ~= ARGV[1] then return 0 end
redis.call('DEL', KEYS[1])
if redis.call('EXISTS', KEYS[3]) == 0 then redis.call('LPUSH', KEYS[3], '1') end
return 1
