-- uses: clock monitors tell target
-- Keeps monitors of one owner, and renews its lease. A monitor that is kept already stays as it is, so a call whose
-- reply was lost may be repeated. A target that is not there is told of at once. Refused whole on a full Redis.
-- KEYS: owners, monitors, counters, nodes
-- ARGV: prefix, owner, ttl_ms, then for each: id, target, told, leak_after_ms, since_ms or 0, what is said of it
-- returns: for each: the target as it is known here, since_ms, or 0 when it is not there
local prefix, owner, ttl, now, out, made = ARGV[1], ARGV[2], tonumber(ARGV[3]), now_ms(), {}, 0
for i = 4, #ARGV, 6 do
  local id, target, told, leak_after, about = ARGV[i], ARGV[i + 1], ARGV[i + 2], ARGV[i + 3], ARGV[i + 5]
  local node = string.match(target, '^node:(.*)$')
  if node then target = 'worker:' .. (redis.call('HGET', KEYS[4], node) or node) end
  local since, how = ARGV[i + 4] ~= '0' and tonumber(ARGV[i + 4]) or now, end_of(prefix, target)
  local due, ref = string.format('%.0f', since + leak_after), id .. '\31' .. target
  since = string.format('%.0f', since)
  local record = table.concat({told, since, due, target, about}, '\31')
  local known = how and redis.call('HGET', KEYS[2], id)
  if not how and redis.call('HSETNX', KEYS[2], id, record) == 0 then known = redis.call('HGET', KEYS[2], id) end
  if known then
    since = select(2, read_monitor(known))
  else
    made = made + 1
    if how then
      tell(prefix, id, told, target, about, reason_of(how), how)
      since = 0
    else
      redis.call('SADD', prefix .. ':monitored:' .. target, id)
      redis.call('ZADD', prefix .. ':monitor:since', since, ref)
      redis.call('ZADD', prefix .. ':monitor:due', due, ref)
      local kind, name = string.match(target, '^(%l+):(.*)$')
      if kind == 'queue' then redis.call('SADD', prefix .. ':monitor:queues', name) end
      if kind == 'receipt' then redis.call('HSET', prefix .. ':delivery:' .. name, 'monitored', 1) end
    end
  end
  out[#out + 1], out[#out + 2] = target, tonumber(since)
end
if redis.call('PEXPIRE', KEYS[2], 2 * ttl) == 1 then redis.call('ZADD', KEYS[1], now + ttl, owner) end
if made > 0 then redis.call('HINCRBY', KEYS[3], 'monitors', made) end
return out
