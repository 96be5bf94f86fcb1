-- A message was being run when its worker died: count it. It comes back at once the first time, then
-- after base * 2^(n-2) ms but at most an hour, and after `max` crashes it is buried. Returns the id of its
-- entry when it was buried. In a mailbox it always comes back at once, or what waits behind it would overtake it.
local LONGEST_MS = 3600000

local function charge(prefix, ttl, list, raw, worker, rule)
  local id, crashes = message_id(raw), prefix .. ':crashes'
  local n = redis.call('HINCRBY', crashes, id, 1)
  redis.call('PEXPIRE', crashes, 604800000)
  count(prefix, 'crashes', 1)
  if n >= rule.max then
    return to_dlq(prefix, ttl, list, raw, worker,
      {reason = 'crashed', error = rule.error, traceback = rule.traceback, crashes = n, fingerprint = 'crashed',
        kept = true})
  end
  if n == 1 or is_mailbox(prefix, list) then
    to_queue(prefix, ttl, list, raw, worker)
  else
    to_schedule(prefix, ttl, list, raw, worker, now_ms() + math.min(rule.base * 2 ^ (n - 2), LONGEST_MS))
  end
  return nil
end
