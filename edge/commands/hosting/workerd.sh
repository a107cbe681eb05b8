#!/bin/sh
# Starts workerd ($WORKERD) and kills it when its parent process has exited. Miniflare stops workerd only on an orderly
# exit. After a kill -9 of the parent, workerd would continue to run and to use its port.
parent=$PPID
(
  while kill -0 "$$"; do
    kill -0 "$parent" || kill -9 "$$"
    sleep 1
  done
) </dev/null >/dev/null 2>&1 3>&- &
exec "$WORKERD" "$@"
