-- Reads the groups of dead letters at one instant.
-- KEYS: dlq, dlq_groups, dlq_retry
-- ARGV: prefix
-- returns: {letters in all, retries planned, then for each group: {id, what it is, letters, oldest id, newest id}}
local out = {redis.call('XLEN', KEYS[1]), redis.call('ZCARD', KEYS[3])}
local groups = redis.call('HGETALL', KEYS[2])
for i = 1, #groups, 2 do
  local key = ARGV[1] .. ':dlq:group:' .. groups[i]
  local oldest = redis.call('XRANGE', key, '-', '+', 'COUNT', 1)
  local newest = redis.call('XREVRANGE', key, '+', '-', 'COUNT', 1)
  out[#out + 1] = {groups[i], groups[i + 1], redis.call('XLEN', key), oldest[1][1], newest[1][1]}
end
return out
