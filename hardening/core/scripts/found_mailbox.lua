-- Makes a queue the mailbox of an agent, with a bound. Safe to repeat; one that is so already changes nothing, also on
-- a full Redis.
-- KEYS: mailbox, agents
-- ARGV: agent, bound
-- returns: 1 made or changed, 0 it was so
local is_known = redis.call('SISMEMBER', KEYS[2], ARGV[1]) == 1
if is_known and redis.call('HGET', KEYS[1], 'bound') == ARGV[2] then return 0 end
redis.call('HSET', KEYS[1], 'bound', ARGV[2])
redis.call('SADD', KEYS[2], ARGV[1])
return 1
