-- uses: clock gone
-- Takes or renews the turn to look after monitors, and tells what there is to do. One process at a time is a courtesy
-- to Redis: whatever follows is safe with many at once. Notes who fell silent, if the asker has seen Redis long enough
-- to judge, and which queues nobody takes from. Works on a full Redis: the first write only frees memory.
-- KEYS: monitor_turn, leases, owners, monitor_gone, monitor_due, monitor_owed, monitor_queues
-- ARGV: prefix, who asks, turn_ms, 1 if it may hold others for dead, 1 to look whoever's turn it is
-- returns: {0} not its turn; {1, monitors due as leaks, notices to be sent, owners with monitors, targets that are
--   down and how ..., '', owners whose lease ran out ...}
local prefix, holder, now = ARGV[1], redis.call('GET', KEYS[1]), now_ms()
if holder and holder ~= ARGV[2] and ARGV[5] ~= '1' then return {0} end
redis.call('DEL', KEYS[1])
redis.call('SET', KEYS[1], ARGV[2], 'PX', ARGV[3])
local dead = {}
if ARGV[4] == '1' then
  for _, consumer in ipairs(redis.call('ZRANGEBYSCORE', KEYS[2], '-inf', now)) do
    consumer_gone(prefix, consumer, 'silent')
  end
  dead = redis.call('ZRANGEBYSCORE', KEYS[3], '-inf', now, 'LIMIT', 0, 100)
end
local watched = redis.call('SMEMBERS', KEYS[7])
if #watched > 0 then
  local taken, sets = {}, {}
  for _, consumer in ipairs(redis.call('ZRANGEBYSCORE', KEYS[2], ARGV[4] == '1' and now or '-inf', '+inf')) do
    sets[#sets + 1] = prefix .. ':consuming:' .. consumer
  end
  for _, queue in ipairs(#sets > 0 and redis.call('SUNION', unpack(sets)) or {}) do taken[queue] = true end
  for _, queue in ipairs(watched) do
    if not taken[queue] then gone(prefix, 'queue:' .. queue, 'abandoned') end
  end
end
local out = {1, redis.call('ZCOUNT', KEYS[5], '-inf', now), redis.call('ZCARD', KEYS[6]),
  redis.call('ZCARD', KEYS[3])}
for _, target in ipairs(redis.call('HRANDFIELD', KEYS[4], 100)) do
  out[#out + 1], out[#out + 2] = target, redis.call('HGET', KEYS[4], target)
end
out[#out + 1] = ''
for _, owner in ipairs(dead) do out[#out + 1] = owner end
return out
