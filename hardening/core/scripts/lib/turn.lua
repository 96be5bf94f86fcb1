-- Whose turn it is at a mailbox. Its holder stays so while it lives and consumes, unless a message has waited for it
-- for a second, in ms: all its places may be taken.
local PATIENCE_MS = 1000
-- What a take knows of the mailbox that a list belongs to; false: of none. `may`: a message may be taken. `is_others`:
-- another consumer is to come for what there is; `is_idle`: and could do so now.
local function mailbox_in(boxes, prefix, list, at, consumer, now)
  local key = mailbox_of(prefix, list)
  local box = key and boxes[key]
  if not key or box ~= nil then return box end
  local is = redis.call('HMGET', key, 'bound', 'holder', 'seq', 'halt', 'resume_ms', 'wanted_ms', 'senders')
  box = is[1] and {key = key, at = at, holder = is[2], resume = tonumber(is[5]) or 0, wanted = tonumber(is[6]), is = is}
  boxes[key] = box
  if not box then return box end
  local is_out = is[3] and redis.call('HEXISTS', prefix .. ':inflight:' .. is[2], is[3]) == 1
  local is_open = not (is_out or is[4] or box.resume > now)
  box.is_others = is[2] and is[2] ~= consumer and (is_out or (redis.call('ZSCORE', prefix .. ':leases', is[2])
    and redis.call('SISMEMBER', prefix .. ':consuming:' .. is[2], queue_of(list)) == 1))
  box.may, box.is_idle = is_open and not box.is_others, is_open and box.is_others
  return box
end

-- Whether a message may be taken from a list of a mailbox. One that waits for another is rung for, and then taken all
-- the same if that does not come for it. Works on a full Redis: the first write only frees memory.
local function has_turn(prefix, list, box, now)
  if not box.is_idle or redis.call('EXISTS', list) == 0 then return box.may end
  if box.wanted and math.abs(now - box.wanted) >= PATIENCE_MS then
    box.may, box.is_others, box.is_idle = true, false, false
  else
    redis.call('HDEL', box.key, '')
    redis.call('HSET', box.key, 'wanted_ms', string.format('%.0f', box.wanted or now))
    ring(prefix, list)
  end
  return box.may
end

-- A message was taken: until it is settled none is, and nothing else changes the agent's state. One of the senders that
-- wait for room is told that there is some; where the last token was not fetched, none waits.
local function give_turn(box, prefix, list, consumer, seq)
  if box.holder ~= consumer then redis.call('HINCRBY', box.key, 'fence', 1) end
  redis.call('HSET', box.key, 'holder', consumer, 'seq', seq)
  local is_unread = box.is[7] and redis.call('EXISTS', box.key .. ':room') == 1
  redis.call('HDEL', box.key, 'wanted_ms', is_unread and 'senders' or '')
  if box.is[7] and not is_unread then
    redis.call('LPUSH', box.key .. ':room', '1')
    redis.call('PEXPIRE', box.key .. ':room', 60000)
  end
  box.may, box.given = false, {box.at, 0, seq, (version_of(prefix .. ':agent:' .. string.sub(queue_of(list), 7)))}
end
