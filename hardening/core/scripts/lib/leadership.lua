-- A lead: a key that one of several candidates has for a while, '<fence number> <candidate>', and that runs out unless
-- it is renewed. Each takeover has a higher fence number, so whatever an older leader still says is told from it.

-- Takes or renews it: returns who leads, 1 if that has just begun, and, where it is another's, how long that still
-- lasts, in ms.
local function take_lead(leader, fence, candidate, ttl_ms)
  local holder, taken = redis.call('GET', leader), 0
  if not holder then
    holder, taken = redis.call('INCR', fence) .. ' ' .. candidate, 1
  elseif string.match(holder, '^%d+ (.*)$') ~= candidate then
    return holder, 0, redis.call('PTTL', leader)
  end
  redis.call('SET', leader, holder, 'PX', ttl_ms)
  return holder, taken
end

-- Gives it away, and wakes one of those who stand by; returns 1, or 0 when it was another's.
local function give_lead(leader, token, vacancy)
  if redis.call('GET', leader) ~= token then return 0 end
  redis.call('DEL', leader)
  if redis.call('EXISTS', vacancy) == 0 then redis.call('LPUSH', vacancy, '1') end
  return 1
end
