-- Takes letters out of the dead-letter queue and out of everything that knows of them. Only frees memory. `exhume`
-- returns whether this call was the one that took a letter out, and notes it in `gone`; `forget` then tells everything
-- else of all of them at once, in a few commands. A letter's group is as its reader was told; were that wrong, it is
-- looked for.
local function exhume(prefix, id, group, gone)
  if redis.call('XDEL', prefix .. ':dlq', id) == 0 then return false end
  gone[group] = gone[group] or {}
  table.insert(gone[group], id)
  return true
end

local function leave_group(prefix, group, ids)
  local key = prefix .. ':dlq:group:' .. group
  local left = redis.call('XDEL', key, unpack(ids))
  if left > 0 and redis.call('XLEN', key) == 0 then
    redis.call('DEL', key)
    redis.call('HDEL', prefix .. ':dlq:groups', group)
  end
  return left
end

local function forget(prefix, gone)
  for group, ids in pairs(gone) do
    redis.call('ZREM', prefix .. ':dlq:retry', unpack(ids))
    local astray = #ids - leave_group(prefix, group, ids)
    for _, other in ipairs(astray > 0 and redis.call('HKEYS', prefix .. ':dlq:groups') or {}) do
      astray = astray - leave_group(prefix, other, ids)
      if astray == 0 then break end
    end
  end
end
