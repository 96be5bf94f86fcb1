-- Dead letters in groups: what shares reason, task, queue and fingerprint is one problem. A group's stream
-- holds the ids of its letters, about 20 bytes each, in the order of the queue itself; so any filter is a merge
-- of a few streams, and statistics are their lengths. The number of groups is bounded: beyond it the
-- fingerprint is given up, then everything, and '*' stands where any value may be.
local MOST_GROUPS, OTHER, BETWEEN = 1000, '*', '\31'

local function label(text)
  if #text > 255 or string.find(text, BETWEEN, 1, true) then return OTHER end
  return text
end

-- The task's name as the headers have it, without parsing them: quotes inside strings are escaped in JSON.
local function task_of(raw)
  local at = string.find(raw, '"headers"', 1, true)
  local task = at and string.match(raw, '"task"%s*:%s*"(.-)"', at)
  return task and label(task) ~= OTHER and task or ''
end

-- The group of a letter, made if it is the first of its kind.
local function group_of(prefix, reason, task, list, fingerprint)
  local groups, shared = prefix .. ':dlq:groups', {label(reason), label(task), label(queue_of(list))}
  local most, named = MOST_GROUPS, label(fingerprint)
  for _ = 1, 3 do
    local name = table.concat(shared, BETWEEN) .. BETWEEN .. named
    local group = string.sub(redis.sha1hex(name), 1, 16)
    if redis.call('HEXISTS', groups, group) == 1 then return group end
    if redis.call('HLEN', groups) < most then
      redis.call('HSET', groups, group, now_ms() .. BETWEEN .. name)
      return group
    end
    if named == OTHER then shared, most = {OTHER, OTHER, OTHER}, math.huge end
    named, most = OTHER, most * 2
  end
end

local function to_group(prefix, group, id)
  redis.call('XADD', prefix .. ':dlq:group:' .. group, id, 'i', '')
end
