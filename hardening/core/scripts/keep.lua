-- uses: clock
-- Takes or renews the turn to keep the dead letters, and tells what there is to do. One keeper at a time is a
-- courtesy to Redis: all that keepers do is safe with many at once. Works on a full Redis: the first write only
-- frees memory.
-- KEYS: dlq, dlq_turn, dlq_planned, dlq_retry
-- ARGV: keeper, turn_ms
-- returns: {0} not its turn; {1, now_ms, letters, oldest id or '', newest id or '', planned up to or '', retries due}
local holder = redis.call('GET', KEYS[2])
if holder and holder ~= ARGV[1] then return {0} end
redis.call('DEL', KEYS[2])
redis.call('SET', KEYS[2], ARGV[1], 'PX', ARGV[2])
local now, ends = now_ms(), {'', ''}
for i, command in ipairs({'XRANGE', 'XREVRANGE'}) do
  local found = redis.call(command, KEYS[1], i == 1 and '-' or '+', i == 1 and '+' or '-', 'COUNT', 1)[1]
  ends[i] = found and found[1] or ''
end
return {1, now, redis.call('XLEN', KEYS[1]), ends[1], ends[2], redis.call('GET', KEYS[3]) or '',
  redis.call('ZCOUNT', KEYS[4], '-inf', now)}
