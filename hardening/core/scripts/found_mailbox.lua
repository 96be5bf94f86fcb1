-- Makes a queue the mailbox of an agent, with a bound and what happens to a message for which there is no room. Safe to
-- repeat; where it is so already nothing is written, also on a full Redis.
-- KEYS: mailbox, agents
-- ARGV: agent, bound (0: none), when_full
-- returns: 1 made or changed, 0 it was so
local is_known, is = redis.call('SISMEMBER', KEYS[2], ARGV[1]) == 1, redis.call('HMGET', KEYS[1], 'bound', 'when_full')
if is_known and is[1] == ARGV[2] and is[2] == ARGV[3] then return 0 end
redis.call('HSET', KEYS[1], 'bound', ARGV[2], 'when_full', ARGV[3])
redis.call('SADD', KEYS[2], ARGV[1])
return 1
