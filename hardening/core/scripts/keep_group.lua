-- Keeps which messages were sent as one, for whoever follows them by the group's id. Saying it again changes nothing
-- but for how long it is kept. Works on a full Redis: the first write only frees memory.
-- KEYS: group
-- ARGV: record, ttl_ms
-- returns: 1
redis.call('DEL', KEYS[1])
redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[2])
return 1
