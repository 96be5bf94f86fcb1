-- A mailbox has a bound: how many messages may wait in it. Whoever puts one more there looks at the room before; what
-- had none is buried afterwards, so that the ledger has it as published and dead.

-- How many wait, and in which lists, the most urgent first.
local function waiting_in(list)
  local queue, lists, waiting = queue_of(list), {}, 0
  for i, step in ipairs({'', '\6\0223', '\6\0226', '\6\0229'}) do
    lists[i] = queue .. step
    waiting = waiting + redis.call('LLEN', lists[i])
  end
  return waiting, lists
end

-- The room there is where one more message comes: `excess` then are too many. `bound` and `when_full` are those of a
-- mailbox that is not there yet.
local function room_in(to, mailbox, bound, when_full)
  local is = redis.call('HMGET', mailbox, 'bound', 'when_full', 'warned', 'halt')
  local waiting, lists = waiting_in(to.list)
  local room = {to = to, mailbox = mailbox, lists = lists, waiting = waiting, bound = tonumber(is[1] or bound) or 0,
    when_full = is[2] or when_full, is_there = is[1], is_warned = is[3], halt = is[4] or ''}
  room.excess = (room.bound > 0 and to.due <= now_ms()) and math.max(waiting + 1 - room.bound, 0) or 0
  return room
end

-- Whether a message was accepted before, as `accept` finds out.
local function is_repeat(prefix, raw, once)
  local message = redis.call('HGET', prefix .. ':delivery:' .. (receipt_id(raw) or ''), 'message')
  return message == message_id(raw) or (once and redis.call('EXISTS', once) == 1)
end

-- How many wait now, and 1 where these are more than half of the bound and were not before. That is told once, and
-- again only after they were a quarter.
local function fill_of(room)
  local waiting, news = waiting_in(room.to.list), 0
  local fills = room.bound > 0 and (2 * waiting > room.bound or (room.is_warned and 4 * waiting > room.bound))
  if fills and not room.is_warned then news = redis.call('HSET', room.mailbox, 'warned', 1) end
  if room.is_warned and not fills then redis.call('HDEL', room.mailbox, 'warned') end
  return waiting, news
end
