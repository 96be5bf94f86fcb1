-- What can be read off a raw message without parsing it. Hardened publishers begin their JSON with
--   {"hardening": "<message id, 36><receipt id, 36, or dashes>", ...
-- so both ids stand at fixed offsets. Anything else was published by stock Celery: it has no receipt,
-- and its bytes, which never change here, give it an id. Mirrored by hardening/core/raw.py.
local MARK = '{"hardening": "'
local NO_RECEIPT = string.rep('-', 36)

local function is_marked(raw)
  return string.sub(raw, 1, 15) == MARK
end

local function message_id(raw)
  if is_marked(raw) then return string.sub(raw, 16, 51) end
  return redis.sha1hex(raw)
end

local function receipt_id(raw)
  if not is_marked(raw) then return nil end
  local id = string.sub(raw, 52, 87)
  if id == NO_RECEIPT then return nil end
  return id
end

-- An entry is '<length of list key>:<list key><raw message>'.
local function join(list, raw)
  return #list .. ':' .. list .. raw
end

local function split(entry)
  local colon = string.find(entry, ':', 1, true)
  local size = tonumber(string.sub(entry, 1, colon - 1))
  return string.sub(entry, colon + 1, colon + size), string.sub(entry, colon + size + 1)
end

local function queue_of(list)
  return (string.gsub(list, '\6\22%d+$', ''))
end

-- The key that makes the queue of a list a mailbox, if it exists; nil: no queue of that name is one.
local function mailbox_of(prefix, list)
  return string.sub(list, 1, 6) == 'agent.' and prefix .. ':mailbox:' .. queue_of(list) or nil
end
