-- The end of one that is monitored is noted for those who tell its monitors, as `gone` does it.
local function ended(prefix, receipt, how)
  if redis.call('EXISTS', prefix .. ':monitored:receipt:' .. receipt) == 0 then return end
  redis.call('HSETNX', prefix .. ':monitor:gone', 'receipt:' .. receipt, how)
  local bell = prefix .. ':monitor:bell'
  if redis.call('EXISTS', bell) == 0 then redis.call('LPUSH', bell, '1') end
end

-- Notes a state on the receipt of a message, if it has one that is still kept. A receipt belongs to the
-- newest message that carries it (a Celery retry is a new message), so an older one changes nothing.
-- It outlives its last change by `ttl` ms, and lives at least as long as an idempotency key that names it.
-- Its last hundred changes are fields '#<n>': '<ms> <state> <worker>'. A stream tells those who wait.
local function note(prefix, ttl, raw, state, worker, reason)
  local receipt = receipt_id(raw)
  if not receipt then return end
  local key = prefix .. ':delivery:' .. receipt
  local kept = redis.call('HMGET', key, 'message', 'changes', 'watched', 'kept_until_ms', 'monitored')
  if kept[1] ~= message_id(raw) then return end
  local n, now = (tonumber(kept[2]) or 0) + 1, now_ms()
  local change = string.format('%.0f', now) .. ' ' .. state .. ' ' .. worker
  redis.call('HSET', key, 'state', state, 'worker', worker, 'reason', reason or '', 'changes', n, '#' .. n, change)
  if n > 100 then redis.call('HDEL', key, '#' .. n - 100) end
  redis.call('PEXPIRE', key, math.max(ttl, (tonumber(kept[4]) or 0) - now))
  if kept[5] and (state == 'acked' or state == 'dead') then
    ended(prefix, receipt, state == 'dead' and 'dead ' .. (reason or '') or state)
  end
  if (tonumber(kept[3]) or 0) < now then return end
  local told = prefix .. ':changes:' .. receipt
  redis.call('XADD', told, 'MAXLEN', '~', 100, '*', 'state', state)
  redis.call('PEXPIRE', told, 60000)
end
