-- uses: clock message receipt places
-- Gives back one message that a stock worker took and never acknowledged. It is not in the ledger, or is
-- there as published, and stays so.
-- KEYS: unacked, unacked_index, list
-- ARGV: prefix, tag, raw
-- returns: 1 given back, 0 somebody else did
redis.call('ZREM', KEYS[2], ARGV[2])
if redis.call('HDEL', KEYS[1], ARGV[2]) == 0 then return 0 end
redis.call('RPUSH', KEYS[3], ARGV[3])
ring(ARGV[1], KEYS[3])
return 1
