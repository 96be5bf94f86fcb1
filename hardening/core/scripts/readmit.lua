-- uses: clock message receipt places groups
-- Takes an exported dead letter in again, as a new entry. Its task and group are read off the message, as when it
-- was buried.
-- KEYS: dlq
-- ARGV: prefix, reason, list, fingerprint, raw, then field value ... of what else it says
-- returns: the id of the entry
local prefix, reason, list, fingerprint, raw = ARGV[1], ARGV[2], ARGV[3], ARGV[4], ARGV[5]
local task = task_of(raw)
local group = group_of(prefix, reason, task, list, fingerprint)
local fields = {'raw', raw, 'list', list, 'reason', reason, 'task', task, 'fingerprint', fingerprint}
for i = 6, #ARGV do
  fields[#fields + 1] = ARGV[i]
end
fields[#fields + 1], fields[#fields + 2] = 'group', group
local entry = redis.call('XADD', KEYS[1], '*', unpack(fields))
to_group(prefix, group, entry)
count(prefix, 'imported', 1)
return entry
