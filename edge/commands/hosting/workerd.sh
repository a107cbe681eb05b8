#!/bin/sh
# Starts workerd ($WORKERD) and kills it when its parent process is gone. Miniflare stops workerd on an orderly exit
# only; after a kill -9 of the parent, workerd would keep running and hold its port.
parent=$PPID
(
  while kill -0 "$$"; do
    kill -0 "$parent" || kill -9 "$$"
    sleep 1
  done
) </dev/null >/dev/null 2>&1 3>&- &
exec "$WORKERD" "$@"
