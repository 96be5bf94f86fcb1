-- What a mailbox has no room for, once it was put there.

-- Removes one message: the last that came to a list, or the foremost of the least urgent. Returns its list and it.
local function drop_from(lists, newest_of)
  if newest_of then return newest_of, redis.call('LPOP', newest_of) end
  for i = #lists, 1, -1 do
    local dropped = redis.call('RPOP', lists[i])
    if dropped then return lists[i], dropped end
  end
end

-- Buries it: with 'drop_oldest' the foremost, at most so many of them at once, else the message that has just come.
-- Returns {entry id, list, raw} of each.
local function bury_excess(room, most)
  local to, is_oldest, buried = room.to, room.when_full == 'drop_oldest', {}
  local death = {reason = 'mailbox_full', error = string.format('the mailbox is bound to %.0f messages', room.bound),
    fingerprint = 'mailbox_full', kept = true}
  for i = 1, is_oldest and math.min(room.excess, most) or 1 do
    local list, raw = drop_from(room.lists, not is_oldest and to.list)
    if not is_marked(raw) then count(to.prefix, 'adopted', 1) end
    buried[i] = {to_dlq(to.prefix, to.ttl, list, raw, to.worker, death), list, raw}
  end
  redis.call('HINCRBY', room.mailbox, 'drops', #buried)
  count(to.prefix, 'mailbox_drops', #buried)
  return buried
end

-- Puts a message into a queue that may be a mailbox, for a sender who waits for no room: whatever its `when_full`,
-- something is buried. Returns 1, or 0 where it was there before; 'oldest' or 'newest', if that was buried for it; and
-- the room of a mailbox, of which the caller may say how it fills.
local function post(to, raw, fields)
  local mailbox = mailbox_of(to.prefix, to.list)
  if not mailbox or redis.call('EXISTS', mailbox) == 0 then return accept(to, raw, fields, nil, 0) end
  local room, lost = room_in(to, mailbox), nil
  local accepted = accept(to, raw, fields, nil, 0)
  if accepted == 1 and room.excess > 0 then
    lost = room.when_full == 'drop_oldest' and 'oldest' or 'newest'
    bury_excess(room, 1)
  end
  return accepted, lost, room
end
