-- Notes that an event is handled and applies what belongs to it, once.
-- KEYS[1]  the note: '1', or 'partly' when only some of the commands were applied
-- ARGV     its lifetime in ms; then for each command how many parts it has, and the parts
-- Answers 1; or 0, or -1 for 'partly', when the note was there before; or an error: {the number of the command, its text}.
local noted = redis.call('GET', KEYS[1])
if noted then
  return noted == 'partly' and -1 or 0
end
-- What keeps this server from writing at all is raised here, before any command.
redis.call('SET', KEYS[1], 'partly', 'PX', ARGV[1])
local at, number = 2, 0
while at <= #ARGV do
  local parts = tonumber(ARGV[at])
  local command = {}
  for part = 1, parts do
    command[part] = ARGV[at + part]
  end
  at, number = at + parts + 1, number + 1
  local answer = redis.pcall(unpack(command))
  if type(answer) == 'table' and answer.err then
    -- What came before the second cannot be undone. With the note it is at least never done again.
    if number == 1 then
      redis.call('DEL', KEYS[1])
    end
    return {number, answer.err}
  end
end
redis.call('SET', KEYS[1], '1', 'PX', ARGV[1])
return 1
