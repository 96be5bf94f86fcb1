-- A generation of a barrier: its parties, each with a lease, and, once it is over, one entry of a stream that says how.
-- Whoever waits blocks on that stream, so that all are woken at once and nobody misses it.
local function parties_of(prefix, name, generation)
  return prefix .. ':barrier:parties:' .. generation .. ':' .. name
end

local function end_of(prefix, name, generation)
  return prefix .. ':barrier:over:' .. generation .. ':' .. name
end

-- How a generation ended, and how many had come; nothing, if it has not.
local function ended(prefix, name, generation)
  local entry = redis.call('XRANGE', end_of(prefix, name, generation), '-', '+', 'COUNT', 1)[1]
  if entry then return entry[2][2], tonumber(entry[2][4]) end
end

-- Ends the generation that there is; the next one begins.
local function finish(barrier, prefix, name, generation, outcome, keep_ms)
  local parties, over = parties_of(prefix, name, generation), end_of(prefix, name, generation)
  local came = redis.call('ZCARD', parties)
  redis.call('PEXPIRE', parties, keep_ms)
  redis.call('XADD', over, '*', 'outcome', outcome, 'came', came)
  redis.call('PEXPIRE', over, keep_ms)
  redis.call('HINCRBY', barrier, 'generation', 1)
  redis.call('PEXPIRE', barrier, 2 * keep_ms)
  return outcome, came
end
