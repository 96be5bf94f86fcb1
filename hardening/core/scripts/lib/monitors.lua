-- Monitors. The id of one is '<owner>#<number>'; it stands in its owner's hash as
--   '<told>\31<since ms>\31<due ms>\31<target>\31<what is said of it>'
-- where `told` says who hears of a down: '-' the owner alone, 's' a task as well. Its reference in the zsets is
-- '<id>\31<target>', so that it can be forgotten everywhere when its owner's hash has expired.
local MONITORS = {'since', 'due', 'leaked'}

local function owner_of(id)
  return string.match(id, '^(.*)#')
end

local function read_monitor(record)
  return string.match(record, '^(.)\31(%d+)\31(%d+)\31([^\31]*)\31(.*)$')
end

-- Takes a monitor out of everything that knows of it, and its owner, if it was the last. Whoever is given its record
-- was the one that did.
local function take_out(prefix, id, target)
  local key = prefix .. ':monitors:' .. owner_of(id)
  local record = redis.call('HGET', key, id)
  if record then target = select(4, read_monitor(record)) end
  redis.call('HDEL', key, id)
  redis.call('SREM', prefix .. ':monitored:' .. target, id)
  for _, name in ipairs(MONITORS) do redis.call('ZREM', prefix .. ':monitor:' .. name, id .. '\31' .. target) end
  local queue = string.match(target, '^queue:(.*)$')
  if queue and redis.call('EXISTS', prefix .. ':monitored:' .. target) == 0 then
    redis.call('SREM', prefix .. ':monitor:queues', queue)
  end
  if redis.call('EXISTS', key) == 0 then redis.call('ZREM', prefix .. ':owners', owner_of(id)) end
  return record
end
