-- A slot is one due time of a schedule entry. Whoever leads the beats moves entries from slot to slot; each move
-- checks that it still leads, and that the entry still owes the slot it was read with.
local function leads(leader, token)
  return redis.call('GET', leader) == token
end

local function owes(entry, revision, owed)
  local is = redis.call('HMGET', entry, 'revision', 'slot_ms', 'sent_ms')
  return (is[1] or '') == revision and is[2] == owed, tonumber(is[3]) or 0
end

-- What became of a slot: '<ms> <what> <slot ms> <id>'.
local function remember(history, most, what, slot, id)
  redis.call('LPUSH', history, string.format('%.0f', now_ms()) .. ' ' .. what .. ' ' .. slot .. ' ' .. id)
  redis.call('LTRIM', history, 0, most - 1)
end

-- From one slot to the next; 0: there is none. What was added at run time then goes, and is remembered for a day.
local function advance(keys, name, next_slot)
  redis.call('HSET', keys.entry, 'slot_ms', next_slot, 'attempts', 0, 'waits', 0, 'error', '')
  if next_slot ~= '0' then
    redis.call('ZADD', keys.due, next_slot, name)
    return
  end
  redis.call('ZREM', keys.due, name)
  if redis.call('HGET', keys.entry, 'origin') == 'runtime' then
    redis.call('SREM', keys.names, name)
    redis.call('PEXPIRE', keys.entry, 86400000)
    redis.call('PEXPIRE', keys.history, 86400000)
  end
end
