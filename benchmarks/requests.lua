-- What wrk sends. Arguments after `--`: what (get create patch status list), the token, the prefix of names, how many objects there are.
local threads = 0

function setup(thread)
    thread:set("id", threads)
    threads = threads + 1
end

function init(args)
    what, prefix, objects = args[1], args[3], tonumber(args[4])
    count = id * 7919
    headers = { ["Host"] = wrk.headers["Host"], ["Authorization"] = "Bearer " .. args[2] }
    if what == "create" then
        headers["Content-Type"] = "application/json"
        local file = io.open(args[5], "rb")
        local body = file:read("*a")
        file:close()
        local at, past = body:find("NAME", 1, true)
        before, after = body:sub(1, at - 1), body:sub(past + 1)
    elseif what == "patch" or what == "status" then
        headers["Content-Type"] = "application/merge-patch+json"
    end
    path = wrk.path
end

function request()
    count = count + 1
    if what == "list" then
        return wrk.format("GET", path .. "?limit=500", headers)
    elseif what == "get" then
        return wrk.format("GET", path .. "/" .. prefix .. count % objects, headers)
    elseif what == "create" then
        return wrk.format("POST", path, headers, before .. prefix .. id .. "-" .. count .. after)
    elseif what == "patch" then
        return wrk.format("PATCH", path .. "/" .. prefix .. count % objects, headers, '{"spec":{"weightGrams":' .. count .. '}}')
    else
        return wrk.format("PATCH", path .. "/" .. prefix .. count % objects .. "/status", headers,
            '{"status":{"phase":"OnItsWay","scans":' .. count .. '}}')
    end
end

function done(summary, latency)
    local errors = summary.errors
    print(string.format('RESULT {"requests":%d,"microseconds":%d,"bytes":%d,"p50_us":%d,"p99_us":%d,"bad_status":%d,"broken":%d}',
        summary.requests, summary.duration, summary.bytes, latency:percentile(50), latency:percentile(99),
        errors.status, errors.connect + errors.read + errors.write + errors.timeout))
end
