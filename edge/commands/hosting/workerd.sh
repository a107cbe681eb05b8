#!/bin/sh
# Starts workerd ($WORKERD) and ends it when the process that asked for it is gone. Miniflare sees to that at an
# orderly end; after a kill -9 nobody would, and workerd would hold its port for ever.
parent=$PPID
(
  while kill -0 "$$"; do
    kill -0 "$parent" || kill -9 "$$"
    sleep 1
  done
) </dev/null >/dev/null 2>&1 3>&- &
exec "$WORKERD" "$@"
