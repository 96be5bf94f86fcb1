-- uses: leadership
-- Gives the lead away: a beat that ends tells those who stand by. Works on a full Redis: the first write only frees
-- memory.
-- KEYS: beat_leader, beat_ticks, beat_vacancy
-- ARGV: token, beat
-- returns: 1 it led, 0 it did not
redis.call('ZREM', KEYS[2], ARGV[2])
return give_lead(KEYS[1], ARGV[1], KEYS[3])
