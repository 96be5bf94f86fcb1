-- A breaker that all workers share. Its hash holds state, generation, when it changed and why, and its window: ten
-- fields 'w<number of the tenth>' = 'calls failures slow', as in Hystrix's rolling buckets.
local TENTHS, KEPT_MS = 10, 604800000

-- What a process is told: state, generation, ms until it may be probed (-1: when somebody closes it), who, why.
local function breaker_view(key, now)
  local s = redis.call('HMGET', key, 'state', 'generation', 'until_ms', 'who', 'why')
  local ends = tonumber(s[3]) or 0
  local left = ends < 0 and -1 or math.max(0, ends - now)
  return {s[1] or 'closed', tonumber(s[2]) or 0, left, s[4] or '', s[5] or ''}
end

-- A new generation: what was counted before means nothing any more.
local function breaker_become(key, probes, state, ends, who, why, now)
  for _, field in ipairs(redis.call('HKEYS', key)) do
    if string.match(field, '^w%d+$') then redis.call('HDEL', key, field) end
  end
  redis.call('DEL', probes)
  redis.call('HINCRBY', key, 'generation', 1)
  redis.call('HSET', key, 'state', state, 'until_ms', string.format('%.0f', ends), 'since_ms',
    string.format('%.0f', now), 'who', who, 'why', why, 'healed', 0)
  if ends < 0 then redis.call('PERSIST', key) else redis.call('PEXPIRE', key, KEPT_MS + math.max(0, ends - now)) end
end

-- Adds to the window and returns its sums. A tenth that is too old goes; so does one from the future, which another
-- width of the window or a clock that was set back has left.
local function breaker_count(key, window_ms, now, calls, failures, slow)
  local tenth = math.floor(now / (window_ms / TENTHS))
  local own, sums, all = {calls, failures, slow}, {calls, failures, slow}, redis.call('HGETALL', key)
  for i = 1, #all, 2 do
    local number = tonumber(string.match(all[i], '^w(%d+)$'))
    if number and (number > tenth or number <= tenth - TENTHS) then
      redis.call('HDEL', key, all[i])
    elseif number then
      local at = 0
      for count in string.gmatch(all[i + 1], '%d+') do
        at = at + 1
        sums[at] = sums[at] + count
        if number == tenth then own[at] = own[at] + count end
      end
    end
  end
  redis.call('HSET', key, string.format('w%.0f', tenth), table.concat(own, ' '))
  return sums
end
