-- A mailbox has a bound: how many messages may wait in it.

-- How many do, and in which lists, the most urgent first.
local function waiting_in(list)
  local queue, lists, waiting = queue_of(list), {}, 0
  for i, step in ipairs({'', '\6\0223', '\6\0226', '\6\0229'}) do
    lists[i] = queue .. step
    waiting = waiting + redis.call('LLEN', lists[i])
  end
  return waiting, lists
end

-- Whether a message was accepted before, as `accept` finds out.
local function is_repeat(prefix, raw, once)
  local message = redis.call('HGET', prefix .. ':delivery:' .. (receipt_id(raw) or ''), 'message')
  return message == message_id(raw) or (once and redis.call('EXISTS', once) == 1)
end

-- Removes one message: the last that came to a list, or the foremost of the least urgent. Returns its list and it.
local function drop_from(lists, newest_of)
  if newest_of then return newest_of, redis.call('LPOP', newest_of) end
  for i = #lists, 1, -1 do
    local dropped = redis.call('RPOP', lists[i])
    if dropped then return lists[i], dropped end
  end
end
