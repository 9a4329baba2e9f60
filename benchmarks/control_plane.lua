-- What wrk sends to a control plane: `wrk … -s control_plane.lua URL -- WORKLOAD NODES`, the bearer in $BENCH_BEARER.
-- Its last line of output is one JSON object with counts, and times in microseconds.

local PERIOD_MS, SETTLE_MS = 15000, 3000
local NODE = '{"id":"node-%05d","capabilities":{"labels":["pool=infer","region=eu"]},"version":"0.1.0",'
  .. '"last_seen_unix_ms":0,"visibility":"private","gpu_total_count":2,"gpu_healthy_count":2}'
local MAIL = '{"sender_agent_id":"1","receiver_agent_id":"7","message_type":"task","payload":"%d","privacy_class":"private"}'

local nodes, sent = 0, 0

local function post(route, body)
  return wrk.format("POST", "/v1/populi" .. route, nil, body)
end

-- The next node's name: request after request all of them, then again from the first.
local function node()
  return sent % nodes
end

local heartbeat, join, lease, mailbox = {}, {}, {}, {}

function heartbeat.request()
  return post("/heartbeat", NODE:format(node()))
end

function join.request()
  return post("/join", NODE:format(node()))
end

function lease.request()
  return post("/exec/lease/grant", ('{"claimer_node_id":"node-%05d","scope_key":"task:%d"}'):format(node(), sent))
end

-- Deliver, claim, acknowledge. Answers do not say which request they belong to, but each kind is told by its body.
local waiting, claimed = 0, {}

function mailbox.request()
  local id = table.remove(claimed)
  if id then return post("/a2a/ack", ('{"receiver_agent_id":"7","message_id":%s}'):format(id)) end
  if waiting > 0 then
    waiting = waiting - 1
    return post("/a2a/inbox", ('{"receiver_agent_id":"7","claimer_node_id":"node-%05d"}'):format(node()))
  end
  return post("/a2a/deliver", MAIL:format(sent))
end

function mailbox.response(status, headers, body)
  if status ~= 200 then return end
  local id = body:match('"messages":%[{"id":(%d+)')
  if id then
    table.insert(claimed, id)
  elseif body:find('"message_id"', 1, true) then
    waiting = waiting + 1
  end
end

local WORKLOADS = { heartbeat = heartbeat, join = join, lease = lease, mailbox = mailbox }

function init(args)
  local workload = WORKLOADS[args[1]]
  nodes = tonumber(args[2])
  wrk.headers["Content-Type"] = "application/json"
  wrk.headers["Authorization"] = "Bearer " .. os.getenv("BENCH_BEARER")
  function request()
    sent = sent + 1
    return workload.request()
  end
  response = workload.response
  if workload == heartbeat then
    -- Every connection is a node of its own. The first beats are spread over one period, once all have connected.
    local begun = 0
    function delay()
      begun = begun + 1
      return begun > nodes and PERIOD_MS or math.floor(SETTLE_MS + begun * PERIOD_MS / nodes)
    end
  end
end

function done(summary, latency)
  local errors = summary.errors
  print(('{"requests":%d,"duration":%d,"p50":%d,"p99":%d,"max":%d,"failed":%d}'):format(
    summary.requests, summary.duration, latency:percentile(50), latency:percentile(99), latency.max,
    errors.status + errors.timeout + errors.read + errors.write + errors.connect))
end
