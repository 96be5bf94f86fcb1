-- uses: clock monitors tell target
-- A target is down: tells of up to `limit` of its monitors. Each is told of once, for being told of begins with its
-- removal. Works on a full Redis: the first write only frees memory.
-- KEYS: monitored, monitor_gone
-- ARGV: prefix, target, reason or '', how, limit
-- returns: {how many were told of, how many are left}
local prefix, target, reason, told_of = ARGV[1], ARGV[2], ARGV[3], 0
if reason == '' then reason = reason_of(ARGV[4]) end
for _, id in ipairs(redis.call('SRANDMEMBER', KEYS[1], tonumber(ARGV[5]))) do
  local record = take_out(prefix, id, target)
  if record then
    local told, _, _, _, about = read_monitor(record)
    tell(prefix, id, told, target, about, reason, ARGV[4])
    told_of = told_of + 1
  end
end
local left = redis.call('SCARD', KEYS[1])
if left == 0 then redis.call('HDEL', KEYS[2], target) end
return {told_of, left}
