-- uses: clock monitors
-- An owner is dead, or says goodbye: removes up to `limit` of its monitors, those given among them, in case its hash
-- has expired. Works on a full Redis: the first write only frees memory.
-- KEYS: owners, monitors, monitor_downs, counters
-- ARGV: prefix, owner, 1 if it says so itself, limit, then for each given: id, target
-- returns: {monitors removed, monitors left}; {-1, 0} it is alive
local prefix, owner, removed = ARGV[1], ARGV[2], 0
local expiry = redis.call('ZSCORE', KEYS[1], owner)
if ARGV[3] ~= '1' and expiry and tonumber(expiry) > now_ms() then return {-1, 0} end
for i = 5, #ARGV, 2 do
  if not redis.call('HGET', KEYS[2], ARGV[i]) then
    local was_there = redis.call('ZSCORE', prefix .. ':monitor:since', ARGV[i] .. '\31' .. ARGV[i + 1])
    take_out(prefix, ARGV[i], ARGV[i + 1])
    if was_there then removed = removed + 1 end
  end
end
local found = redis.call('HRANDFIELD', KEYS[2], ARGV[4], 'WITHVALUES')
for i = 1, #found, 2 do
  local _, _, _, target = read_monitor(found[i + 1])
  take_out(prefix, found[i], target)
  removed = removed + 1
end
local left = redis.call('HLEN', KEYS[2])
if left == 0 then
  redis.call('ZREM', KEYS[1], owner)
  redis.call('DEL', KEYS[3])
end
local counted = ARGV[3] == '1' and 'monitors_ended' or 'monitors_orphaned'
if removed > 0 then redis.call('HINCRBY', KEYS[4], counted, removed) end
return {removed, left}
