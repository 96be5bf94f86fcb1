-- Says from which queues a consumer takes: from these and no others. Only for one with a lease, or nobody would clear
-- it away. Works on a full Redis: the first write only frees memory.
-- KEYS: leases, consuming
-- ARGV: consumer, then the queues
-- returns: 1, or -1 when the consumer has no lease
redis.call('DEL', KEYS[2])
if not redis.call('ZSCORE', KEYS[1], ARGV[1]) then return -1 end
for first = 2, #ARGV, 1000 do
  redis.call('SADD', KEYS[2], unpack(ARGV, first, math.min(first + 999, #ARGV)))
end
return 1
