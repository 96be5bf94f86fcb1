-- The mark of the version of an agent's state, '<version> <the message that made it>', for the number alone begins anew
-- where a state is removed by hand; and that message.
local function version_of(agent)
  local is = redis.call('HMGET', agent, 'version', 'applied')
  return (is[1] or '0') .. ' ' .. (is[2] or ''), is[2]
end
